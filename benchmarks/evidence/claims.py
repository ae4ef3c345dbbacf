"""The claims of the paper beside what the study found, for docs/explanation/evidence.md."""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping

from benchmarks import harness
from benchmarks.evidence import comparisons, tables
from benchmarks.evidence.comparisons import Comparison
from benchmarks.evidence.student_tables import Rows
from teacherlm_jax.pipelines.evidence_steps import study_real, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT, SIZES
from teacherlm_jax.report.paper import printed

FORMS = ("CMF", "C", "M", "F", "CM", "FCM", "shuffle")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        claim: what is said to be better.
        paper: the paper's differences in points; empty if it has none.
        part: part of the study that tests it.
        found: the difference here; None if it was not run.
        verdict: conclusion on a hypothesis of the protocol; empty for any other comparison.
    """

    claim: str
    paper: str
    part: str
    found: Comparison | None
    verdict: str = ""

    def cells(self, hours: Mapping[str, float]) -> list[str]:
        """Return the line of the table; `hours` has those of each part that was run."""
        if self.found is None or self.part not in hours:
            return [self.claim, self.paper, "not run yet", "", self.part]
        return [
            self.claim,
            self.paper,
            comparisons.shown(self.found),
            self.verdict or interval(self.found),
            f"{self.part} ({hours[self.part]:.1f})",
        ]


def table(rows: Rows, hours: Mapping[str, float]) -> str:
    """Return the table; `hours` has those of one core that the trainings of each part took."""
    lines = (*_explanations(rows), *_stages(rows), *_authors(rows), *_real(rows))
    header = ("claim", "in the paper", "here", "conclusion", "part (hours)")
    return harness.table(header, [line.cells(hours) for line in lines])


def interval(comparison: Comparison) -> str:
    """Return where the 95% interval of a comparison is."""
    if abs(comparison.mean) <= comparison.half:
        return "interval includes 0"
    return "interval above 0" if comparison.mean > 0 else "interval below 0"


def _explanations(rows: Rows) -> Iterator[Line]:
    judged = tables.judged(rows)
    for form in FORMS:
        name = f"students: {form} above text, equal passes"
        paper = spread(_gains("students_mmlu", form, "text"))
        if form == "CMF":
            yield Line(f"{name} (H1)", paper, "students", *judged["H1"])
            yield Line("the same, equal tokens (H2)", "", "students", *judged["H2"])
            yield Line("CMF above permuted CMF (H3)", "", "students", *judged["H3"])
        else:
            found = comparisons.of_students(rows["students"], form, "text", MAIN_AMOUNT, "passes")
            yield Line(name, paper, "forms", found)


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
    gains = [*_gains("teachers", "stage2", study_teachers.CONTROL)]
    judged = tables.judged(rows)
    for size in SIZES:
        name, main = f"teachers, {size}: stages above mixed data", size == study_teachers.MAIN_SIZE
        part = next(part for part, sizes in study_teachers.PARTS.items() if size in sizes)
        letters = (tables.staged(rows["teachers"], size, "trained"),)
        explained = (tables.explained(rows["explained"], size, "stage2"),)
        yield Line(
            f"{name}, letters{' (H4)' if main else ''}",
            spread(gains),
            part,
            *(judged["H4"] if main else letters),
        )
        yield Line(
            f"{name}, correct explanations{' (H5)' if main else ''}",
            "",
            part,
            *(judged["H5"] if main else explained),
        )


def _authors(rows: Rows) -> Iterator[Line]:
    yield Line(
        "students: a teacher's explanations above true ones, equal steps",
        spread(_gains("single_task", "C", "C/human")),
        "taught",
        comparisons.of_students(
            rows["students"], "taught-stage2", "taught-CMF", MAIN_AMOUNT, "steps"
        ),
    )


def _real(rows: Rows) -> Iterator[Line]:
    for name in study_real.SETS:
        found = [row for row in rows["real"] if row["benchmark"] == name]
        amount = found[0]["amount"] if found else 0
        yield Line(
            f"students on {name}: people's explanations above none, equal passes",
            spread(_gains("single_task", "C/human", "text", of=f"/{name}")),
            study_real.PART,
            comparisons.of_students(found, "C", "text", amount, "passes"),
        )


def spread(differences: Iterable[float]) -> str:
    """Return the mean of some differences with the smallest and the largest of them."""
    found = list(differences)
    return f"{statistics.fmean(found):+.1f} ({min(found):+.1f} to {max(found):+.1f})"
