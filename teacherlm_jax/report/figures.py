"""Figures of a report, made with Altair: curves, intervals, shares and histograms."""

from collections.abc import Mapping, Sequence

import altair

from teacherlm_jax.report import figure_labels
from teacherlm_jax.report.drawing import INK, MUTED, SERIES, Curve, Drawing, specification

# Widths of the drawing area in pixels. With its labels, a figure is little wider than a phone.
_WIDTH, _WIDTH_BESIDE_NAMES = 340, 260
_NAMES = 24  # letters of a name beside a drawing area; longer ones lose their middle
_MOST_NAMED = 12  # curves that a legend names
_COLUMNS = 40  # letters of the names in one line of a legend
_SYMBOL = 6  # letters that a symbol of a legend and the space before it are as wide as
_MARGIN = 0.08  # share of a fitted axis that stays empty on each side

Histogram = tuple[str, Sequence[float], Sequence[int], float]  # name, edges, counts, mean
Interval = tuple[str, float, float, float]  # name, value, low end, high end; from 0 to 1


def curves(lines: Sequence[Curve], across: str, up: str) -> Drawing:
    """Return curves of values over steps, one per run.

    The vertical axis is logarithmic if values differ more than tenfold, otherwise it begins at
    zero.
    """
    values = [value for _, _, own in lines for value in own]
    far_apart = min(values) > 0 and max(values) > 10 * min(values)
    names = [name for name, *_ in lines]
    legend = None if len(names) > _MOST_NAMED else _legend(names)
    chart = (
        _chart()
        .mark_line(strokeWidth=1.6 if legend else 0.8)
        .encode(
            x=altair.X("step:Q", title=across, axis=altair.Axis(grid=False, tickCount=6)),
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
    return Drawing(specification(chart), ("run", "step", "value"), curves=tuple(lines))


def intervals(dots: Sequence[Interval], baseline: float, across: str) -> Drawing:
    """Return a dot with its interval per model on a fitted axis, and a line at the baseline."""
    ends = [100 * end for _, _, low, high in dots for end in (low, high)] + [100 * baseline]
    margin = max(_MARGIN * (max(ends) - min(ends)), 1)
    domain = [max(0, min(ends) - margin), min(100, max(ends) + margin)]
    scale = altair.Scale(domain=domain, nice=False, zero=False)
    base = _chart().encode(
        y=altair.Y("model:N", sort=None, title=None, axis=_names([name for name, *_ in dots]))
    )
    x = altair.X("accuracy:Q", scale=scale, title=across, axis=altair.Axis(tickCount=6))
    tooltip = [altair.Tooltip(f"{name}:Q", format=".1f") for name in ("accuracy", "low", "high")]
    chart = altair.layer(
        _chart()
        .mark_rule(strokeDash=[5, 4], color=SERIES[1], strokeWidth=1.5)
        .encode(x=altair.X("majority:Q", scale=scale, title=across)),
        _chart()
        .transform_aggregate(majority="max(majority)")
        .mark_text(align="left", dx=4, baseline="bottom", color=MUTED, fontSize=13)
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
    ).properties(height=max(60, 26 * len(dots)), width=_WIDTH_BESIDE_NAMES)
    rows = tuple(
        (name, _percent(value), _percent(low), _percent(high), _percent(baseline))
        for name, value, low, high in dots
    )
    return Drawing(specification(chart), ("model", "accuracy", "low", "high", "majority"), rows)


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
            y=altair.Y("gate:N", sort=keys, title=None, axis=_names(keys)),
            yOffset=altair.YOffset("kind:N", sort=names),
            color=_colour("kind", names, _legend(names, "circle")),
            tooltip=["kind:N", "gate:N", altair.Tooltip("share:Q", format=".1f")],
        )
        .properties(height=(10 + 12 * len(names)) * len(keys), width=_WIDTH_BESIDE_NAMES)
    )
    return Drawing(specification(chart), ("kind", "gate", "share"), rows)


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
    return Drawing(specification(chart), header, rows)


def of_points(chart: altair.TopLevelMixin, points: Sequence[Mapping[str, str | float]]) -> Drawing:
    """Return a chart of named data "rows" with its points, which have the same fields."""
    header = tuple(points[0]) if points else ()
    return Drawing(specification(chart), header, tuple(tuple(point.values()) for point in points))


def _chart() -> altair.Chart:
    return altair.Chart(altair.NamedData(name="rows"), width=_WIDTH)


def _names(names: Sequence[str]) -> altair.Axis:
    """Return an axis of names."""
    shown = figure_labels.labels(names, _NAMES)
    return altair.Axis(labelExpr=figure_labels.expression(shown), labelLimit=0, ticks=False)


def _legend(names: Sequence[str], symbol: str = "stroke") -> altair.Legend:
    shown = figure_labels.labels(names, _COLUMNS)
    return altair.Legend(
        orient="top",
        columns=max(1, (_COLUMNS + _SYMBOL) // (max(map(len, shown.values())) + _SYMBOL)),
        title=None,
        labelExpr=figure_labels.expression(shown),
        labelLimit=0,
        symbolType=symbol,
        symbolSize=120,
    )


def _colour(field: str, names: Sequence[str], legend: altair.Legend | None) -> altair.Color:
    palette = [SERIES[index % len(SERIES)] for index in range(len(names))]
    return altair.Color(
        f"{field}:N", scale=altair.Scale(domain=list(names), range=palette), legend=legend
    )


def _percent(share: float) -> float:
    return round(100 * share, 2)
