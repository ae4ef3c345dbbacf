"""Figures: Vega-Lite specifications made with Altair, their numbers, and static SVG.

The static SVG follows the page's colours and font, in light and in dark: each colour is drawn as a
fixed value, which is then replaced by a CSS variable with that value as its fallback. The page
draws a figure again from its specification when a reader asks for another scale or for smoothing.
"""

import dataclasses
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

_WIDTH = 440  # pixels of the drawing area, so that its text can be read on a phone
_MOST_NAMED = 12  # curves that a legend names
_DRAWN = 20_000  # points of the curves in a static figure; the numbers have all
_DIGITS = 5  # significant digits of a curve's values in the page
_MARGIN = 0.08  # share of a fitted axis that stays empty on each side

Curve = tuple[str, Sequence[float], Sequence[float]]  # name, steps, values
Histogram = tuple[str, Sequence[float], Sequence[int], float]  # name, edges, counts, mean
Interval = tuple[str, float, float, float]  # name, value, low end, high end; from 0 to 1
Row = tuple[str | float, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Content of a figure, and the way it is drawn.

    Attributes:
        spec: Vega-Lite specification; its data have the name "rows".
        header: names of the numbers' columns, which are the fields of the specification.
        rows: the numbers; empty for curves.
        curves: curves with many points; the fields are name, step and value.
    """

    spec: Mapping[str, Any]
    header: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()

    def svg(self) -> str:
        """Return the figure as SVG for the page: without size and ids, with CSS variables."""
        drawn = {**self.spec, "datasets": {"rows": self._records()}}
        return _for_page(vl_convert.vegalite_to_svg(drawn, vl_version=_VERSION))

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

    def _records(self) -> list[dict[str, Any]]:
        rows = self.rows
        if self.curves:
            points = sum(len(steps) for _, steps, _ in self.curves)
            every = max(1, -(-points // _DRAWN))
            rows = tuple(
                (name, step, value)
                for name, steps, values in self.curves
                for step, value in _thinned(steps, values, every)
            )
        return [dict(zip(self.header, row, strict=True)) for row in rows]


def curves(lines: Sequence[Curve], across: str, up: str) -> Drawing:
    """Return curves of values over steps, one per run.

    The vertical axis is logarithmic if values differ more than tenfold, otherwise it begins at
    zero.
    """
    values = [value for _, _, own in lines for value in own]
    far_apart = min(values) > 0 and max(values) > 10 * min(values)
    names = [name for name, *_ in lines]
    legend = None if len(names) > _MOST_NAMED else _legend()
    chart = (
        _chart()
        .mark_line(strokeWidth=1.6 if legend else 0.8)
        .encode(
            x=altair.X("step:Q", title=across, axis=altair.Axis(grid=False, tickCount=8)),
            y=altair.Y(
                "value:Q",
                title=up,
                scale=altair.Scale(type="log" if far_apart else "linear", zero=not far_apart),
                axis=altair.Axis(tickCount=6, format="~g"),
            ),
            color=_colour("run", names, legend),
            tooltip=["run:N", "step:Q", altair.Tooltip("value:Q", format=".4g")],
        )
        .properties(height=230)
    )
    return Drawing(_spec(chart), ("run", "step", "value"), curves=tuple(lines))


def intervals(dots: Sequence[Interval], baseline: float, across: str) -> Drawing:
    """Return a dot with its interval per model on a fitted axis, and a line at the baseline."""
    ends = [100 * end for _, _, low, high in dots for end in (low, high)] + [100 * baseline]
    margin = max(_MARGIN * (max(ends) - min(ends)), 1)
    domain = [max(0, min(ends) - margin), min(100, max(ends) + margin)]
    scale = altair.Scale(domain=domain, nice=False, zero=False)
    base = _chart().encode(
        y=altair.Y("model:N", sort=None, title=None, axis=altair.Axis(labelLimit=220, ticks=False))
    )
    x = altair.X("accuracy:Q", scale=scale, title=across, axis=altair.Axis(tickCount=8))
    tooltip = [altair.Tooltip(f"{name}:Q", format=".1f") for name in ("accuracy", "low", "high")]
    chart = altair.layer(
        _chart()
        .mark_rule(strokeDash=[5, 4], color=SERIES[1], strokeWidth=1.5)
        .encode(x=altair.X("majority:Q", scale=scale, title=across)),
        _chart()
        .transform_aggregate(majority="max(majority)")
        .mark_text(align="left", dx=4, baseline="bottom", color=MUTED, fontSize=12)
        .encode(
            x=altair.X("majority:Q", scale=scale, title=across),
            y=altair.value(-2),
            text=altair.Text("majority:Q", format=".1f"),
        ),
        base.mark_rule(color=INK, strokeWidth=1.5).encode(
            x=altair.X("low:Q", scale=scale, title=across),
            x2="high:Q",
            tooltip=["model:N", *tooltip],
        ),
        base.mark_point(color=SERIES[0], filled=True, size=70, opacity=1).encode(
            x=x, tooltip=["model:N", *tooltip]
        ),
    ).properties(height=max(60, 26 * len(dots)))
    rows = tuple(
        (name, _percent(value), _percent(low), _percent(high), _percent(baseline))
        for name, value, low, high in dots
    )
    return Drawing(_spec(chart), ("model", "accuracy", "low", "high", "majority"), rows)


def share_dots(groups: Sequence[tuple[str, Mapping[str, float]]]) -> Drawing:
    """Return shares from 0 to 1 as dots, by group, with one row per key. A group may lack keys."""
    rows = tuple(
        (group, key, _percent(share)) for group, shares in groups for key, share in shares.items()
    )
    low = min(share for *_, share in rows)
    scale = altair.Scale(domain=[max(0, low - 3), 100.5], nice=False, zero=False)
    keys = list(dict.fromkeys(key for _, shares in groups for key in shares))
    names = [name for name, _ in groups]
    chart = (
        _chart()
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=altair.X("share:Q", scale=scale, title="texts that pass, %"),
            y=altair.Y("gate:N", sort=keys, title=None, axis=altair.Axis(labelLimit=220)),
            yOffset=altair.YOffset("kind:N", sort=names),
            color=_colour("kind", names, _legend("circle")),
            tooltip=["kind:N", "gate:N", altair.Tooltip("share:Q", format=".1f")],
        )
        .properties(height=(10 + 12 * len(names)) * len(keys))
    )
    return Drawing(_spec(chart), ("kind", "gate", "share"), rows)


def histograms(panels: Sequence[Histogram], across: str) -> Drawing:
    """Return histograms below each other on a common axis, each with a line at its mean."""
    names = [name for name, *_ in panels]
    header = ("field", "begin", "end", "share", "mean")
    rows = tuple(
        (name, low, high, round(100 * number / sum(counts), 3), round(mean, 2))
        for name, edges, counts, mean in panels
        for low, high, number in zip(edges, edges[1:], counts, strict=False)
    )
    panel = altair.layer(
        altair.Chart()
        .mark_bar(opacity=0.65, binSpacing=1)
        .encode(
            x=altair.X("begin:Q", bin="binned", title=across, axis=altair.Axis(grid=False)),
            x2="end:Q",
            y=altair.Y("share:Q", title="%", axis=altair.Axis(tickCount=3)),
            color=_colour("field", names, None),
        ),
        altair.Chart().mark_rule(color=INK, strokeWidth=1.3).encode(x="mean:Q"),
    ).properties(height=64, width=_WIDTH)
    chart = panel.facet(
        row=altair.Row(
            "field:N",
            sort=names,
            title=None,
            header=altair.Header(labelAngle=0, labelAnchor="start", labelOrient="top"),
        ),
        data=altair.NamedData(name="rows"),
        spacing=8,
    ).resolve_scale(y="independent")
    return Drawing(_spec(chart), header, rows)


def drawing(chart: altair.TopLevelMixin, points: Sequence[Mapping[str, str | float]]) -> Drawing:
    """Return a chart of named data "rows" with its points, which have the same fields."""
    header = tuple(points[0]) if points else ()
    return Drawing(_spec(chart), header, tuple(tuple(point.values()) for point in points))


def colour_variables() -> str:
    """Return CSS that defines the colours as variables, in light and in dark."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def standalone(svg: str) -> str:
    """Return the figure as a file of its own that follows the viewer's light or dark setting."""
    style = f"<style>{colour_variables()}</style>"
    return re.sub(r"(<svg [^>]*>)", rf"\1{style}", svg, count=1)


def library() -> str:
    """Return the JavaScript that draws specifications in a browser; it loads nothing."""
    # Without a snippet the bundle is Vega-Embed; the package's types do not know that.
    bundle = vl_convert.javascript_bundle(None, vl_version=_VERSION)  # type: ignore[arg-type]
    return bundle.replace("</script", "<\\/script")


_VERSION = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_CONFIG = {
    "background": None,
    "padding": {"left": 14, "top": 4, "right": 14, "bottom": 4},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": GRID,
        "gridColor": GRID,
        "tickColor": GRID,
        "labelColor": MUTED,
        "titleColor": MUTED,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "domain": False,
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "labelLimit": 260, "title": None},
    "header": {"labelColor": INK, "labelFontSize": 13},
}


def _chart() -> altair.Chart:
    return altair.Chart(altair.NamedData(name="rows"), width=_WIDTH)


def _legend(symbol: str = "stroke") -> altair.Legend:
    return altair.Legend(orient="top", columns=3, title=None, symbolType=symbol, symbolSize=120)


def _colour(field: str, names: Sequence[str], legend: altair.Legend | None) -> altair.Color:
    palette = [SERIES[index % len(SERIES)] for index in range(len(names))]
    return altair.Color(
        f"{field}:N", scale=altair.Scale(domain=list(names), range=palette), legend=legend
    )


def _spec(chart: altair.TopLevelMixin) -> dict[str, Any]:
    return {**chart.to_dict(validate=True), "config": _CONFIG}


def _thinned(
    steps: Sequence[float], values: Sequence[float], every: int
) -> list[tuple[float, float]]:
    """Return each `every`-th point, and the last one."""
    points = list(zip(steps, values, strict=True))
    return points if every == 1 else [*points[:-1:every], points[-1]]


def _percent(share: float) -> float:
    return round(100 * share, 2)


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
