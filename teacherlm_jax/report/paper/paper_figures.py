"""Figures of the paper's results beside ours, drawn from the numbers of its tables."""

from collections.abc import Iterator
from typing import Any

import altair

from teacherlm_jax.config import paper_models
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import Figure
from teacherlm_jax.report.drawing import MUTED, SERIES
from teacherlm_jax.report.paper import augmentation, names_of_models, paper_cells, printed
from teacherlm_jax.report.paper.explanation_effects import ExplanationEffects
from teacherlm_jax.report.paper.measured import Measured
from teacherlm_jax.report.paper.paper_tables import FORMS

NOTE = (
    "The numbers that come with this program are those of the paper's tables and text. They do not "
    "say what Figures 1 to 3 of the paper show. So the figures on this page are drawn from the "
    "tables (accuracy by stage and size, averages over the subjects of MMLU, and the change from "
    "explanations) and have no numbers of the paper's figures."
)
PAPER, OURS = "paper", "ours"
_BILLIONS = {"560m": 0.56, "1b1": 1.1, "3b": 3.0, "7b1": 7.1, "176b": 176.0}

Point = dict[str, Any]


def teachers(measured: Measured) -> list[Figure]:
    """Return MMLU accuracy by size, with a line per stage."""
    points: list[Point] = []
    for cell in paper_cells.cells("teachers"):
        place = {"size": _BILLIONS[cell.row], "stage": names_of_models.stage(cell.column)}
        points += _both(cell, place, measured)
    stages = [names_of_models.stage(stage) for stage in paper_models.STAGES]
    base = altair.Chart(altair.NamedData(name="rows")).encode(
        x=altair.X("size:Q", title="parameters, billions")
        .scale(type="log", domain=[0.4, 250], nice=False)
        .axis(values=[0.5, 1, 3, 10, 30, 100]),
        y=altair.Y("accuracy:Q", title="MMLU, mean over subjects, %").scale(zero=False),
        color=altair.Color("stage:N", title=None, sort=stages, legend=_legend()).scale(
            domain=stages, range=list(SERIES)
        ),
    )
    paper = base.transform_filter(altair.datum.whose == PAPER)
    ours = base.transform_filter(altair.datum.whose == OURS)
    chart = altair.layer(
        paper.mark_line(strokeWidth=1.4, opacity=0.7),
        paper.mark_point(size=30),
        ours.mark_point(shape="diamond", size=110, filled=True, opacity=1),
    )
    caption = (
        "MMLU accuracy of the teachers by size and stage, from Table 1. Lines with circles: the "
        "paper."
    )
    return [_figure("paper-teachers", chart.properties(width=340, height=260), caption, points)]


def averages(measured: Measured) -> list[Figure]:
    """Return the averages of Tables 5 and 6, a row for each model."""
    points: list[Point] = []
    for cell in paper_cells.cells("subjects"):
        if cell.row == paper_cells.AVERAGE:
            place = {"model": names_of_models.short_model(cell.model)}
            points += _both(cell, place, measured)
    order = sorted(
        (point for point in points if point["whose"] == PAPER), key=lambda point: -point["accuracy"]
    )
    chart = _dots(named=True).encode(
        x=altair.X("accuracy:Q", title="MMLU, mean over subjects, %").scale(zero=False),
        y=altair.Y("model:N", title=None, sort=[point["model"] for point in order]),
    )
    caption = "MMLU accuracy, averages of Tables 5 and 6. Circles: the paper."
    return [_figure("paper-averages", chart.properties(width=260, height=220), caption, points)]


def students(measured: Measured, effects: ExplanationEffects) -> list[Figure]:
    """Return the change from explanations, a panel for each benchmark."""
    points = list(_changes(measured, effects))
    panel = altair.layer(
        altair.Chart().mark_rule(color=MUTED).encode(x=altair.datum(0)),
        _dots(named=False).encode(
            x=altair.X("accuracy:Q", title=None),
            y=altair.Y("form:N", title=None, sort=list(FORMS)),
        ),
    ).properties(width=130, height=150)
    chart = panel.facet(
        altair.Facet("benchmark:N", title=None, sort=[*_benchmarks()]),
        columns=2,
        data=altair.NamedData(name="rows"),
    )
    caption = (
        "Change of the accuracy of multi-task students from explanations, by text form, from Table "
        "7: percentage points more than the same student without explanations. Circles: the nine "
        "students of the paper."
    )
    return [_figure("paper-changes", chart, caption, points)]


def _benchmarks() -> list[str]:
    return [names_of_models.dataset(benchmark) for benchmark in printed.STUDENT_BENCHMARKS]


def _changes(measured: Measured, effects: ExplanationEffects) -> Iterator[Point]:
    ours = augmentation.of_runs(measured, effects)
    for benchmark in printed.STUDENT_BENCHMARKS:
        for form in FORMS:
            for student in paper_models.STUDENTS:
                for whose, change_of in ((PAPER, augmentation.of_paper), (OURS, ours)):
                    change = change_of(benchmark, form, student)
                    if change is not None:
                        yield {
                            "benchmark": names_of_models.dataset(benchmark),
                            "form": form,
                            "accuracy": round(change, 2),
                            "whose": whose,
                        }


def _both(cell: paper_cells.PaperCell, place: Point, measured: Measured) -> Iterator[Point]:
    """Yield the points of the paper and of ours for a cell."""
    if cell.printed is not None:
        yield place | {"accuracy": cell.printed, "whose": PAPER}
    if ours := measured.accuracy(cell.model, cell.format, cell.subject):
        yield place | {"accuracy": round(ours.value, 2), "whose": OURS}


def _dots(*, named: bool) -> altair.Chart:
    """Return circles of the paper and diamonds of ours, of named data or of those of a facet."""
    data = altair.NamedData(name="rows") if named else altair.Undefined
    whose = [PAPER, OURS]
    return (
        altair.Chart(data)
        .mark_point(filled=True)
        .encode(
            shape=altair.Shape("whose:N", title=None, legend=_legend()).scale(
                domain=whose, range=["circle", "diamond"]
            ),
            color=altair.Color("whose:N", title=None, legend=_legend()).scale(
                domain=whose, range=[SERIES[0], SERIES[1]]
            ),
            size=altair.Size("whose:N", legend=None).scale(domain=whose, range=[45, 110]),
        )
    )


def _legend() -> altair.Legend:
    return altair.Legend(orient="top", columns=3)


def _figure(name: str, chart: Any, caption: str, points: list[Point]) -> Figure:
    ours = sum(point["whose"] == OURS for point in points)
    caption += " Diamonds: our runs." if ours else " None of our runs is in it yet."
    description = f"{caption} {len(points) - ours} points of the paper and {ours} of ours."
    drawing = figures.of_points(chart, points)
    return Figure(name=name, drawing=drawing, caption=caption, description=description)
