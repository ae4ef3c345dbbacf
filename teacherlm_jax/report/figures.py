"""Figures as SVG that follows the page's colours and font, in light and in dark.

matplotlib draws them without its global state. Each colour is drawn as a fixed value, which is then
replaced by a CSS variable with that value as its fallback.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

INK, MUTED, GRID = "#22262b", "#6b7178", "#dfe2e6"
SERIES = ("#3b6ea5", "#c07f2a", "#4b8a5b", "#a5525f", "#7763a6", "#3a8787")
_LINES = ("-", "--", ":", "-.")

# The light and the dark variant of each colour, by the name of its CSS variable.
COLOURS = {
    "ink": (INK, "#e4e6e8"),
    "muted": (MUTED, "#9aa1a9"),
    "grid": (GRID, "#353a40"),
    "series-1": (SERIES[0], "#7fabdc"),
    "series-2": (SERIES[1], "#dba65a"),
    "series-3": (SERIES[2], "#7fba8e"),
    "series-4": (SERIES[3], "#d98592"),
    "series-5": (SERIES[4], "#aa98d6"),
    "series-6": (SERIES[5], "#6fbcbc"),
}

_NUMBER_WIDTH = 9  # of "54.3", in units of an axis in per cent
_ALPHA = 0.6  # opacity of bars, so that lines and text on them remain visible
_WIDTH = 5.8  # inches of 72 points; narrow enough to be read on a phone
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "teacherlm",  # the same figure gives the same bytes
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": GRID,
    "grid.color": GRID,
    "legend.frameon": False,
}

_REWRITES = (
    (r"<metadata>.*?</metadata>", ""),
    (r"<style.*?</style>", ""),
    (r'<g id="[^"]*"', "<g"),
    (r' (width|height)="[\d.]+pt"', ""),
    (r"font-family: [^;\"]*", "font-family: var(--sans, sans-serif)"),
)

Curve = tuple[str, Sequence[float], Sequence[float]]  # name, steps, values
Histogram = tuple[str, Sequence[float], Sequence[int], float]  # name, edges, counts, mean
Bar = tuple[str, float, float, float]  # name, value, low end, high end; from 0 to 1


def curves(lines: Sequence[Curve], across: str, up: str) -> str:
    """Return curves of values over steps, one per run."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _canvas(3.6)
        drawn: list[Artist] = []
        for index, (_, steps, values) in enumerate(lines):
            style = _LINES[index // len(SERIES) % len(_LINES)]
            colour = SERIES[index % len(SERIES)]
            drawn += axes.plot(steps, values, style, color=colour, linewidth=1.6)
        axes.grid(axis="y", linewidth=0.8)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_xlim(left=0)
        _scale(axes, [value for _, _, values in lines for value in values])
        _legend(figure, drawn, [name for name, *_ in lines])
        return _svg(figure)


def accuracy_bars(bars: Sequence[Bar], baseline: float, across: str) -> str:
    """Return one bar with its interval per model, and a line for the majority baseline."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _canvas(0.75 + 0.34 * len(bars))
        for row, (_, value, low, high) in enumerate(bars):
            axes.barh(row, 100 * value, height=0.62, color=SERIES[0], alpha=_ALPHA)
            axes.plot([100 * low, 100 * high], [row, row], color=INK, linewidth=1.2)
            beside = 100 * high + 1
            if beside <= 100 * baseline < beside + _NUMBER_WIDTH:
                beside = 100 * baseline + 1  # so that the line does not cross the number
            axes.text(beside, row, f"{100 * value:.1f}", va="center", color=INK)
        axes.axvline(100 * baseline, color=SERIES[1], linewidth=1.4, linestyle="--")
        axes.annotate(
            f"majority {100 * baseline:.1f}",
            (100 * baseline, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            color=SERIES[1],
        )
        _name_bars(axes, [name for name, *_ in bars], across)
        return _svg(figure)


def share_bars(groups: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Return groups of bars for shares from 0 to 1, with one bar and one colour per key.

    A group may lack keys.
    """
    keys = list(dict.fromkeys(key for _, shares in groups for key in shares))
    height = 0.8 / len(keys)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _canvas(0.9 + (0.2 + 0.24 * len(keys)) * len(groups))
        drawn: list[Artist] = []
        for index, key in enumerate(keys):
            having = [place for place, (_, shares) in enumerate(groups) if key in shares]
            places = [place - 0.4 + (index + 0.5) * height for place in having]
            shares = [100 * groups[place][1][key] for place in having]
            colour = SERIES[index % len(SERIES)]
            drawn.append(axes.barh(places, shares, 0.86 * height, color=colour, alpha=_ALPHA)[0])
            for place, share in zip(places, shares, strict=True):
                axes.text(share + 1, place, f"{share:.1f}", va="center", color=INK)
        _name_bars(axes, [name for name, _ in groups], "texts that pass, %")
        _legend(figure, drawn, keys)
        return _svg(figure)


def histograms(panels: Sequence[Histogram], across: str) -> str:
    """Return histograms below each other on a common axis, each with a line at its mean."""
    end = max(edges[-1] for _, edges, _, _ in panels)
    with matplotlib.rc_context(_STYLE):
        figure, every = _stack(0.6 + 0.95 * len(panels), len(panels))
        for index, (axes, (name, edges, counts, mean)) in enumerate(
            zip(every, panels, strict=True)
        ):
            colour = SERIES[index % len(SERIES)]
            shares = [100 * number / sum(counts) for number in counts]
            axes.stairs(shares, edges, fill=True, color=colour, alpha=_ALPHA)
            axes.axvline(mean, color=INK, linewidth=1.2)
            axes.set_xlim(0, end)
            axes.set_ylim(0, 1.18 * max(shares))
            axes.set_ylabel("%")
            axes.grid(axis="y", linewidth=0.8)
            axes.set_title(name, loc="left", color=INK, parse_math=False, fontsize="medium")
            axes.set_title(f"mean {mean:,.1f}", loc="right", color=MUTED, fontsize="medium")
        every[-1].set_xlabel(across)
        return _svg(figure)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Start the axis at zero, or make it logarithmic if values differ more than tenfold."""
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)


def colour_variables() -> str:
    """Return CSS that defines the colours as variables, in light and in dark."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def standalone(svg: str) -> str:
    """Return the figure as a file of its own that follows the viewer's light or dark setting."""
    style = f"<style>{colour_variables()}</style>"
    return re.sub(r"(<svg [^>]*>)", rf"\1{style}", svg, count=1)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = _stack(height, 1)
    return figure, axes


def _stack(height: float, rows: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` axes below each other that share the horizontal scale."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    every = list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])
    for axes in every:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, which="both")
        axes.set_axisbelow(True)
    return figure, every


def _name_bars(axes: Axes, names: Sequence[str], across: str) -> None:
    axes.set_yticks(range(len(names)), names, color=INK, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first one at the top
    axes.set_xlim(0, 110)  # room for the number beside a bar of 100 %
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(across)
    axes.grid(axis="x", linewidth=0.8)


def _legend(figure: Figure, drawn: Sequence[Artist], names: Sequence[str]) -> None:
    """Add a legend of arbitrary names: matplotlib alone would parse `$` and drop a leading `_`."""
    legend = figure.legend(
        drawn,
        [str(index) for index in range(len(names))],
        loc="outside upper left",
        ncols=min(len(names), 3),
        labelcolor=INK,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _svg(figure: Figure) -> str:
    """Return the SVG without size, ids and style sheet, which would affect the rest of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for pattern, replacement in _REWRITES:
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name}, {light})")
    return svg
