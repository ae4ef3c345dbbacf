"""The graph of a pipeline as a drawing: a column for each level, an arrow for each need."""

import collections
from collections.abc import Mapping, Sequence
from html import escape

from teacherlm_jax.pipelines.step_graph import StepNode
from teacherlm_jax.wording import counted

_CHARACTER, _HEIGHT, _GAP, _BETWEEN, _MARGIN = 7.2, 34, 14, 56, 16  # pixels
_COLOURS = {"finished": "#d5ecd8", "": "#f4f4f0"}
_PARTLY = "#f7ecc8"
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" font-family="monospace" font-size="12" role="img">
<title>{title}</title>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a8a84"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


def svg(graph: Sequence[StepNode]) -> str:
    """Return a drawing of the graph, which needs nothing but this text."""
    columns: Mapping[int, list[int]] = collections.defaultdict(list)
    for index, node in enumerate(graph):
        columns[node.level].append(index)
    places = _places(graph, columns)
    right = max(x + width for x, _, width in places)
    bottom = max(y for _, y, _ in places) + _HEIGHT
    width, height = f"{right + _MARGIN:.0f}", f"{bottom + _MARGIN:.0f}"
    count = sum(node.steps for node in graph)
    parts = [
        _HEAD.format(width=width, height=height, title=f"Pipeline of {counted(count, 'step')}")
    ]
    for index, node in enumerate(graph):
        parts += (_arrow(places[other], places[index]) for other in node.after)
    parts += (_box(node, place) for node, place in zip(graph, places, strict=True))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(
    graph: Sequence[StepNode], columns: Mapping[int, Sequence[int]]
) -> list[tuple[float, float, float]]:
    """Return left, top and width of each box; the columns are centred."""
    tallest = max(map(len, columns.values()))
    places = [(0.0, 0.0, 0.0)] * len(graph)
    left = float(_MARGIN)
    for level in sorted(columns):
        width = max(len(graph[index].label) for index in columns[level]) * _CHARACTER + 20
        top = _MARGIN + (tallest - len(columns[level])) * (_HEIGHT + _GAP) / 2
        for row, index in enumerate(_ordered(graph, columns[level], places)):
            places[index] = (left, top + row * (_HEIGHT + _GAP), width)
        left += width + _BETWEEN
    return places


def _ordered(
    graph: Sequence[StepNode],
    column: Sequence[int],
    places: Sequence[tuple[float, float, float]],
) -> list[int]:
    """Return the nodes of a column by the mean height of those that they need: few crossings."""

    def height(index: int) -> float:
        above = [places[other][1] for other in graph[index].after]
        return sum(above) / len(above) if above else 0.0

    return sorted(column, key=lambda index: (height(index), index))


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x, y = start[0] + start[2], start[1] + _HEIGHT / 2
    to, at = end[0], end[1] + _HEIGHT / 2
    bend = max(24.0, (to - x) / 2)
    return (
        f'<path d="M{x:.0f} {y:.0f}C{x + bend:.0f} {y:.0f} {to - bend:.0f} {at:.0f} '
        f'{to:.0f} {at:.0f}" fill="none" stroke="#8a8a84" marker-end="url(#arrow)"/>'
    )


def _box(node: StepNode, place: tuple[float, float, float]) -> str:
    x, y, width = place
    partly = 0 < node.finished < node.steps
    colour = _PARTLY if partly else _COLOURS["finished" if node.finished else ""]
    note = f"<title>{escape(node.label)}: {escape(node.state or 'not finished')}</title>"
    return (
        f'<g>{note}<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_HEIGHT}" rx="5" '
        f'fill="{colour}" stroke="#55554f"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + _HEIGHT / 2 + 4:.0f}" text-anchor="middle" '
        f'fill="#22221e">{escape(node.label)}</text></g>'
    )
