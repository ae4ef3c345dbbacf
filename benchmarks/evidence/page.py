"""Fill docs/explanation/evidence.md: its tables, and the figure of the students."""

from collections.abc import Iterator
from typing import Any

import altair
import vl_convert

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.student_tables import Rows, Runs
from benchmarks.evidence.tables import TABLES
from teacherlm_jax.pipelines.evidence_steps import study_students

PAGE = harness.DOCS / "explanation" / "evidence.md"
FIGURE = PAGE.parent / "evidence-students.svg"


def write(part: str, rows: Rows, conditions: str = "") -> None:
    """Replace the tables of a part on the page, from the outcomes of all parts."""
    harness.put_into(PAGE, part, f"{TABLES[part](rows)}\n{conditions}")


def write_figure(students: Runs) -> None:
    """Replace the figure of the students on the page."""
    FIGURE.write_text(vl_convert.vegalite_to_svg(figure(students).to_json()), encoding="utf-8")
    link = f"![Accuracy of each form minus that of text, with intervals]({FIGURE.name})\n"
    harness.put_into(PAGE, "figure", link)


def figure(students: Runs) -> altair.Chart:
    """Return the differences to `text` by form, with intervals: equal passes and equal tokens."""
    points = list(_points(students))
    amounts = sorted({row["amount"] for row in students})
    arms = list(dict.fromkeys(point["arm"] for point in points))
    y = altair.Y("arm:N", sort=arms, title=None)
    x = altair.X("mean:Q", title="accuracy minus that of text, points")
    # The layers have no data of their own: the facet gives each of them its part.
    layers = altair.layer(
        altair.Chart().mark_rule(color="#9aa0a6").encode(x=altair.datum(0)),
        altair.Chart().mark_rule(color="#3b6ea5").encode(x="low:Q", x2="high:Q", y=y),
        altair.Chart()
        .mark_point(filled=True, size=40, color="#3b6ea5", opacity=1)
        .encode(x=x, y=y),
        data=altair.Data(values=points),
    ).properties(width=190, height=170)
    columns = [f"{amount} samples" for amount in amounts]
    return layers.facet(
        column=altair.Column("amount:N", sort=columns, title=None),
        row=altair.Row("budget:N", sort=["equal passes", "equal tokens"], title=None),
    )


def _points(students: Runs) -> Iterator[dict[str, Any]]:
    arms = (*study_students.ADDED["students"], *study_students.ADDED["forms"])
    for amount in sorted({row["amount"] for row in students}):
        for budget in ("passes", "tokens"):
            for arm in arms[1:]:
                one = comparisons.of_students(students, arm, "text", amount, budget)
                if one is not None:
                    yield {
                        "arm": arm,
                        "amount": f"{amount} samples",
                        "budget": f"equal {budget}",
                        "mean": one.mean,
                        "low": one.mean - min(one.half, 100),
                        "high": one.mean + min(one.half, 100),
                    }
