"""Drawings: Vega-Lite specifications with their numbers, in JSON for the page and in static SVG.

The static SVG follows the page's colours and font, in light and in dark: each colour is drawn as a
fixed value, which is then replaced by a CSS variable with that value as its fallback. The page
draws a figure again from its specification when a reader asks for another scale or for smoothing.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair
import vl_convert

INK, MUTED, GRID = "#22262b", "#5c6269", "#dfe2e6"
SERIES = ("#3b6ea5", "#c07f2a", "#4b8a5b", "#a5525f", "#7763a6", "#3a8787")

# The light and the dark variant of each colour, by the name of its CSS variable.
COLOURS = {
    "ink": (INK, "#e4e6e8"),
    "muted": (MUTED, "#a6adb5"),
    "grid": (GRID, "#353a40"),
    "series-1": (SERIES[0], "#7fabdc"),
    "series-2": (SERIES[1], "#dba65a"),
    "series-3": (SERIES[2], "#7fba8e"),
    "series-4": (SERIES[3], "#d98592"),
    "series-5": (SERIES[4], "#aa98d6"),
    "series-6": (SERIES[5], "#6fbcbc"),
}

_DRAWN = 20_000  # points of the curves in the static figures of a page; CSV files have all
_DIGITS = 5  # significant digits of a curve's values in the page and in CSV files

Curve = tuple[str, Sequence[float], Sequence[float]]  # name, steps, values
Row = tuple[str | float, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Content of a figure, and the way it is drawn.

    Attributes:
        spec: Vega-Lite specification; its data have the name "rows".
        header: names of the numbers' columns, which are the fields of the specification.
        rows: the numbers; empty for curves.
        curves: curves with many points; the fields are name, step and value.
        most: number of points of a curve above which the static figure thins it; 0: as many as
            `points_each` allows for the curves of this drawing alone.
    """

    spec: Mapping[str, Any]
    header: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()
    most: int = 0

    @functools.cached_property
    def svg(self) -> str:
        """Return the figure as SVG for the page: without size and ids, with CSS variables."""
        return _for_page(vl_convert.vegalite_to_svg(self._drawn(), vl_version=_VERSION))

    @property
    def chart(self) -> altair.TopLevelMixin:
        """Return the figure as an Altair chart with its numbers, on white."""
        style = {**_CONFIG, "background": "white"}
        return altair.Chart.from_dict({**self._drawn(), "config": style})

    @property
    def width(self) -> float:
        """Return the width in pixels at which its text has the size that it is specified with."""
        return float(self.svg.partition('viewBox="0 0 ')[2].partition(" ")[0])

    def data(self) -> dict[str, Any]:
        """Return specification and numbers as JSON for the page; curves share lists of steps."""
        if not self.curves:
            return {"spec": self.spec, "header": self.header, "rows": self.rows}
        steps: dict[tuple[float, ...], int] = {}
        curves = [
            (name, steps.setdefault(tuple(at), len(steps)), [_short(value) for value in values])
            for name, at, values in self.curves
        ]
        return {"spec": self.spec, "header": self.header, "steps": list(steps), "curves": curves}

    def _drawn(self) -> dict[str, Any]:
        """Return the specification with the numbers that a static figure shows."""
        return {**self.spec, "datasets": {"rows": self._records()}}

    def _records(self) -> list[dict[str, Any]]:
        rows = self.rows
        if self.curves:
            most = self.most or points_each(self.curves)
            rows = tuple(
                (name, step, value)
                for name, steps, values in self.curves
                for step, value in _thinned(steps, values, most)
            )
        return [dict(zip(self.header, row, strict=True)) for row in rows]


def colour_variables() -> str:
    """Return CSS that defines the colours as variables, in light and in dark."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def standalone(svg: str) -> str:
    """Return the figure as a file of its own that follows the viewer's light or dark setting."""
    style = f"<style>{colour_variables()}</style>"
    return re.sub(r"(<svg [^>]*>)", rf"\1{style}", svg, count=1)


@functools.cache
def library() -> str:
    """Return the JavaScript that draws specifications in a browser; it loads nothing."""
    # Without a snippet the bundle is Vega-Embed; the package's types do not know that.
    bundle = vl_convert.javascript_bundle(None, vl_version=_VERSION)  # type: ignore[arg-type]
    return bundle.replace("</script", "<\\/script")


_VERSION = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_CONFIG = {
    "background": None,
    "padding": {"left": 24, "top": 4, "right": 14, "bottom": 4},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": GRID,
        "gridColor": GRID,
        "tickColor": GRID,
        "labelColor": MUTED,
        "titleColor": MUTED,
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "domain": False,
    },
    # Browsers may draw a label wider than it was measured here, so the columns have space between.
    "legend": {"labelColor": INK, "labelFontSize": 13, "title": None, "columnPadding": 24},
    "header": {"labelColor": INK, "labelFontSize": 13},
}


def specification(chart: altair.TopLevelMixin) -> dict[str, Any]:
    """Return a chart of named data "rows" as a Vega-Lite specification in the page's style."""
    return {**chart.to_dict(validate=True), "config": _CONFIG}


def points_each(curves: Sequence[Curve]) -> int:
    """Return the most points that each curve may have so that static figures of all stay small.

    Curves with few points are shown whole, and leave more points to the others.
    """
    left = _DRAWN
    lengths = sorted(len(steps) for _, steps, _ in curves)
    for number, points in enumerate(lengths):
        share = left // (len(lengths) - number)
        if points > share:
            return max(2, share)
        left -= points
    return max([2, *lengths])


def _thinned(
    steps: Sequence[float], values: Sequence[float], most: int
) -> list[tuple[float, float]]:
    """Return at most `most` points at equal distances, and the last one among them."""
    points = list(zip(steps, values, strict=True))
    every = max(1, -(-(len(points) - 1) // (most - 1)))
    return points if every == 1 else [*points[:-1:every], points[-1]]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _for_page(svg: str) -> str:
    """Return the SVG without size, ids and fonts, which would affect the rest of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg [^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg, count=1)
    svg = re.sub(r' font-family="[^"]*"', ' font-family="var(--sans, sans-serif)"', svg)
    svg = re.sub(r' (aria-[a-z]+|role)="[^"]*"', "", svg)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name}, {light})")
    return svg
