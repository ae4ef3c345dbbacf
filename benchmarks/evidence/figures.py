"""Figures of docs/explanation/evidence.md: mean differences with 95% intervals, by question."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import altair

from benchmarks.evidence import comparisons, student_tables, tables
from benchmarks.evidence.comparisons import Comparison, Missing
from benchmarks.evidence.outcomes import Rows
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT, SIZES
from teacherlm_jax.report.drawing import SERIES

Point = Mapping[str, Any]  # one difference: its panel (`column`, `row`), its `name`, and its ends
_LINE, _ZERO = SERIES[0], "#9aa0a6"


@dataclasses.dataclass(frozen=True)
class Question:
    """A figure of the page.

    Attributes:
        name: name of its place on the page and, after "evidence-", of its file.
        alt_text: description for those who do not see it.
        axis: title of the horizontal axis.
        points: its differences.
    """

    name: str
    alt_text: str
    axis: str
    points: tuple[Point, ...]


def questions(rows: Rows) -> tuple[Question, ...]:
    """Return the figure of each question; one without outcomes has no points."""
    amounts = sorted({row["amount"] for row in rows["students"]})
    return (
        Question(
            "students",
            "Accuracy of each form minus that of text, with intervals",
            "accuracy above text, points",
            tuple(_of_forms(rows, amounts)),
        ),
        Question(
            "stages",
            "Differences between teachers trained in stages and the control, with intervals",
            "difference, points",
            tuple(_of_teachers(rows)),
        ),
        Question(
            "causes",
            "Accuracy of each cause minus that of CMF, with intervals",
            "accuracy above CMF, points",
            tuple(_of_part("causes", rows, "CMF", MAIN_AMOUNT, ("steps", "tokens"))),
        ),
        Question(
            "taught",
            "Accuracy with each author's explanations minus that without any, with intervals",
            "accuracy above taught-text, points",
            tuple(_of_part("taught", rows, "taught-text", MAIN_AMOUNT, ("passes", "tokens"))),
        ),
    )


def _of_forms(rows: Rows, amounts: Iterable[int]) -> Iterator[Point]:
    for amount in amounts:
        for budget in ("passes", "tokens"):
            for part in ("students", "forms"):
                yield from _of_part(part, rows, "text", amount, (budget,))


def _of_part(
    part: str, rows: Rows, base: str, amount: int, budgets: Iterable[str]
) -> Iterator[Point]:
    """Yield the differences of the arms of a part from a base, with the seeds that all have."""
    arms = [arm for arm in study_students.ADDED[part] if arm != base]
    compared = student_tables.with_common_seeds(
        [
            row
            for row in student_tables.with_base(part, rows)
            if row["arm"] in (base, *arms) and row["amount"] == amount
        ]
    )
    for budget in budgets:
        for arm in arms:
            comparison = comparisons.of_arms(compared, arm, base, amount, budget)
            yield from _point(f"{amount} samples", f"equal {budget}", arm, comparison)


def _of_teachers(rows: Rows) -> Iterator[Point]:
    for size in SIZES:
        answers = {
            "accuracy": tables.staged(rows["teachers"], size, "trained"),
            "accuracy, held-out families": tables.staged(rows["teachers"], size, "unseen"),
        }
        rows_of_panels = {
            "stage 2 - control": ("stage2", tables.CONTROL, answers),
            "specialists - stage 2": ("specialists", "stage2", {}),
        }
        for row, (writer, other, accuracies) in rows_of_panels.items():
            correct = {
                f"{student_tables.NAMES[kind]}, correct": tables.explained(
                    rows["explained"], size, writer, kind, other
                )
                for kind in KINDS
            }
            mean = tables.explained(rows["explained"], size, writer, other=other)
            shares = {"explanations, correct": mean, **correct}
            for name, comparison in (accuracies | shares).items():
                yield from _point(size, row, name, comparison)


def _point(column: str, row: str, name: str, comparison: Comparison | Missing) -> Iterator[Point]:
    """Yield the point of a comparison that has an interval."""
    if isinstance(comparison, Comparison) and math.isfinite(comparison.half):
        yield {
            "column": column,
            "row": row,
            "name": name,
            "mean": comparison.mean,
            "low": comparison.mean - comparison.half,
            "high": comparison.mean + comparison.half,
        }


def drawn(question: Question) -> altair.Chart:
    """Return a panel for each column and row, with a point and its interval for each name."""
    columns, rows, names = (
        list(dict.fromkeys(point[key] for point in question.points))
        for key in ("column", "row", "name")
    )
    y = altair.Y("name:N", sort=names, title=None, axis=altair.Axis(labelLimit=240))
    x = altair.X("mean:Q", title=question.axis)
    # The layers have no data of their own: the facet gives each of them its part.
    layers = altair.layer(
        altair.Chart().mark_rule(color=_ZERO).encode(x=altair.datum(0)),
        altair.Chart().mark_rule(color=_LINE).encode(x="low:Q", x2="high:Q", y=y),
        altair.Chart().mark_point(filled=True, size=40, color=_LINE, opacity=1).encode(x=x, y=y),
        data=altair.Data(values=[*question.points]),
    ).properties(width=230, height=altair.Step(20))
    beside = altair.Header(labelAngle=0, labelAlign="left")
    return layers.facet(
        column=altair.Column("column:N", sort=columns, title=None),
        row=altair.Row("row:N", sort=rows, title=None, header=beside),
    ).resolve_scale(y="independent")
