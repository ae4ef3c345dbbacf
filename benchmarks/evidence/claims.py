"""The claims of the paper beside what the study found, for docs/explanation/evidence.md."""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping

from benchmarks import harness
from benchmarks.evidence import comparisons, tables
from benchmarks.evidence.comparisons import Comparison
from benchmarks.evidence.student_tables import Rows
from teacherlm_jax.pipelines.evidence_steps import study_real, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.report.paper import printed

FORMS = ("CMF", "C", "M", "F", "CM", "FCM", "shuffle")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        claim: the difference that the paper says is positive, as in "students: CMF - text".
        budget: what is equal for both sides here.
        part: part of the study that tests it.
        found: the difference here; None if it was not run.
        verdict: conclusion on a hypothesis of the protocol; empty for any other comparison.
        paper: the paper's differences in points; empty if it has none.
    """

    claim: str
    budget: str
    part: str
    found: Comparison | None
    verdict: str = ""
    paper: str = ""

    def cells(self, hours: Mapping[str, float]) -> list[str]:
        """Return the line of the table; `hours` has those of each part that was run."""
        run = self.found is not None and self.part in hours
        return [
            self.claim,
            self.budget,
            self.paper,
            comparisons.with_ends(self.found) if run else "not run yet",
            self.verdict if run else "",
            f"{self.part} ({hours[self.part]:.1f})" if run else self.part,
        ]


def table(rows: Rows, hours: Mapping[str, float]) -> str:
    """Return the table; `hours` has the core-hours that the training runs of each part took."""
    lines = (*_explanations(rows), *_stages(rows), *_authors(rows), *_real(rows))
    header = ("difference", "equal", "paper, mean (range)", "here, mean (95% interval)")
    header = (*header, "verdict", "part (core-hours)")
    return harness.table(header, [line.cells(hours) for line in lines])


def _explanations(rows: Rows) -> Iterator[Line]:
    judged = tables.judged(rows)
    for form in FORMS:
        paper = spread(_gains("students_mmlu", form, "text"))
        if form == "CMF":
            yield Line("students: CMF - text (H1)", "passes", "students", *judged["H1"], paper)
            yield Line("students: CMF - text (H2)", "tokens", "students", *judged["H2"])
            yield Line("students: CMF - CMF-permuted (H3)", "steps", "students", *judged["H3"])
        else:
            found = comparisons.of_students(rows["students"], form, "text", MAIN_AMOUNT, "passes")
            yield Line(f"students: {form} - text", "passes", "forms", found, paper=paper)


def _gains(name: str, arm: str, base: str, *, of: str = "") -> Iterator[float]:
    """Yield the differences between two arms in a table of the paper, without misprints.

    The arms are rows or columns of the table. `of` is the end of the names of the rows that count.
    """
    shown = printed.table(name)
    in_rows = arm in shown.rows
    models = shown.columns if in_rows else [row for row in shown.rows if row.endswith(of)]
    for model in models:
        first, second = (
            shown.value(*((one, model) if in_rows else (model, one))) for one in (arm, base)
        )
        if first is not None and second is not None:
            yield first - second


def _stages(rows: Rows) -> Iterator[Line]:
    """Yield lines for each size; the paper's are on that of the hypotheses."""
    judged = tables.judged(rows)
    paper = spread(_gains("teachers", "stage2", study_teachers.CONTROL))
    for part, sizes in study_teachers.PARTS.items():
        for size in sizes:
            name = f"{size} teachers, stage 2 - control"
            if size == study_teachers.MAIN_SIZE:
                yield Line(f"{name}: answers (H4)", "tokens", part, *judged["H4"], paper)
                yield Line(f"{name}: explanations (H5)", "tokens", part, *judged["H5"])
            else:
                answers = tables.staged(rows["teachers"], size, "trained")
                explanations = tables.explained(rows["explained"], size, "stage2")
                yield Line(f"{name}: answers", "tokens", part, answers)
                yield Line(f"{name}: explanations", "tokens", part, explanations)


def _authors(rows: Rows) -> Iterator[Line]:
    students = rows["students"]
    yield Line(
        "students: explained by a teacher - by the generator (in the paper, by people)",
        "steps",
        "taught",
        comparisons.of_students(students, "taught-stage2", "taught-CMF", MAIN_AMOUNT, "steps"),
        paper=spread(_gains("single_task", "C", "C/human")),
    )


def _real(rows: Rows) -> Iterator[Line]:
    for name in study_real.SETS:
        found = [row for row in rows["real"] if row["benchmark"] == name]
        amount = found[0]["amount"] if found else 0
        yield Line(
            f"students on {name}: C by people - text",
            "passes",
            study_real.PART,
            comparisons.of_students(found, "C", "text", amount, "passes"),
            paper=spread(_gains("single_task", "C/human", "text", of=f"/{name}")),
        )


def spread(differences: Iterable[float]) -> str:
    """Return the mean of some differences with the smallest and the largest of them."""
    found = list(differences)
    return f"{statistics.fmean(found):+.1f} ({min(found):+.1f} to {max(found):+.1f})"
