"""Table of the claims of the paper and the comparisons of the study."""

import dataclasses
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypedDict

from benchmarks import harness
from benchmarks.evidence import comparisons, real_tables, student_tables, tables
from benchmarks.evidence.comparisons import Comparison, Missing
from benchmarks.evidence.outcomes import Rows
from teacherlm_jax import config
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.report.paper import printed

FORMS = ("CMF", *(form for form in config.FORMS if form not in ("text", "CMF")))


class Conclusion(TypedDict):
    """The comparison of a hypothesis, and the verdict on it."""

    comparison: Comparison | Missing
    verdict: str


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """One line of the table.

    Attributes:
        difference: what is compared, as in "students: CMF - text (H1)".
        budget: what is equal for both sides in the study.
        part: part of the study that has the comparison.
        comparison: the outcome of the study, or why there is none.
        verdict: conclusion on a hypothesis of the protocol; empty for any other comparison.
        paper: the paper's differences in points; empty if it has none.
    """

    difference: str
    budget: str
    part: str
    comparison: Comparison | Missing
    verdict: str = ""
    paper: str = ""

    def cells(self, run_parts: Collection[str]) -> list[str]:
        """Return the cells of the line; `run_parts` are the parts with recorded outcomes."""
        verdict = ""
        if self.part not in run_parts:
            outcome = "not run yet"
        elif isinstance(self.comparison, Missing):
            outcome = self.comparison.value
        else:
            outcome = comparisons.with_bounds(self.comparison)
            verdict = self.verdict if self.comparison.complete else tables.INCOMPLETE
        return [self.difference, self.budget, self.paper, outcome, verdict, self.part]


def table(rows: Rows, run_parts: Collection[str]) -> str:
    """Return the comparisons of the study, each with the paper's differences if it has them."""
    hypotheses = _hypotheses(rows)
    lines = (
        *_of_forms(rows, hypotheses),
        *_of_amounts(rows),
        *_of_stages(rows, hypotheses),
        *_of_authors(rows),
        *_of_real(rows),
    )
    header = ("difference", "at equal", "paper: mean (range)", "this study: mean (95% interval)")
    header = (*header, "verdict", "part")
    return harness.table(header, [line.cells(run_parts) for line in lines])


def paper_table() -> str:
    """Return the paper's differences of each form from `text`, for each benchmark."""
    lines = [
        [form, *(_summary(_by_student(name, form)) for name in printed.STUDENT_BENCHMARKS)]
        for form in FORMS
    ]
    return harness.table(("form - text, in the paper", *printed.STUDENT_BENCHMARKS), lines)


def _of_forms(rows: Rows, hypotheses: Mapping[str, Conclusion]) -> Iterator[ClaimRow]:
    beside_forms = student_tables.with_base("forms", rows)
    for form in FORMS:
        paper = _summary(_by_student("mmlu", form))
        if form == "CMF":
            name = "students: CMF - text"
            yield ClaimRow(f"{name} (H1)", "passes", "students", **hypotheses["H1"], paper=paper)
            yield ClaimRow(f"{name} (H2)", "tokens", "students", **hypotheses["H2"])
            name = "students: CMF - CMF-permuted"
            yield ClaimRow(f"{name} (H3)", "steps", "students", **hypotheses["H3"])
        else:
            comparison = comparisons.of_arms(beside_forms, form, "text", MAIN_AMOUNT, "passes")
            yield ClaimRow(f"students: {form} - text", "passes", "forms", comparison, paper=paper)


def _of_amounts(rows: Rows) -> Iterator[ClaimRow]:
    """Yield the comparisons of H1 to H3 with the other numbers of samples."""
    permuted = study_students.PERMUTED
    compared = (("text", "passes"), ("text", "tokens"), (permuted, "steps"))
    for amount in study_students.AMOUNTS:
        for base, budget in compared:
            name = f"students, {amount} samples: CMF - {base}"
            comparison = comparisons.of_arms(rows["students"], "CMF", base, amount, budget)
            yield ClaimRow(name, budget, "amounts", comparison)


def _of_stages(rows: Rows, hypotheses: Mapping[str, Conclusion]) -> Iterator[ClaimRow]:
    """Yield two lines for each size, and two for the restarted control.

    The paper's differences are on that of H4.
    """
    for part in ("stages", "sizes"):
        for size in study_teachers.PARTS[part]:
            name = f"{size} teachers: stage 2 - control"
            accuracy, correct = f"{name}, accuracy", f"{name}, correct explanations"
            if size == study_teachers.MAIN_SIZE:
                paper = _summary(_by_stages())
                yield ClaimRow(f"{accuracy} (H4)", "tokens", part, **hypotheses["H4"], paper=paper)
                yield ClaimRow(f"{correct} (H5)", "tokens", part, **hypotheses["H5"])
            else:
                of_size = tables.staged(rows["teachers"], size, "trained")
                yield ClaimRow(accuracy, "tokens", part, of_size)
                of_size = tables.explained(rows["explained"], size, "stage2")
                yield ClaimRow(correct, "tokens", part, of_size)
    (size,), restarted = study_teachers.PARTS[study_teachers.RESTARTS], tables.RESTARTED
    name = f"{size} teachers: stage 2 - restarted control"
    accuracy = tables.staged(rows["teachers"], size, "trained", other=restarted)
    correct = tables.explained(rows["explained"], size, "stage2", other=restarted)
    yield ClaimRow(f"{name}, accuracy", "tokens", study_teachers.RESTARTS, accuracy)
    yield ClaimRow(f"{name}, correct explanations", "tokens", study_teachers.RESTARTS, correct)


def _of_authors(rows: Rows) -> Iterator[ClaimRow]:
    """Yield the comparisons of explanations that a teacher wrote with none, and with others."""
    from_text = _summary(_by_student("mmlu", "CMF"))
    from_people = _summary(_in_single_tasks("C", "C/human"))
    teacher, specialists = "taught-stage2", "taught-specialists"
    unchecked, checked = "taught-each", "taught-each-checked"
    for name, arm, base, budget, paper in (
        ("CMF by a teacher - text", teacher, "taught-text", "passes", from_text),
        ("CMF by a teacher - text", teacher, "taught-text", "tokens", ""),
        ("CMF by a teacher - CMF by the generator", teacher, "taught-CMF", "steps", from_people),
        ("CMF by specialists - CMF by a teacher", specialists, teacher, "steps", ""),
        ("C, M and F by a teacher: checked - unchecked", checked, unchecked, "steps", ""),
    ):
        comparison = comparisons.of_arms(rows["students"], arm, base, MAIN_AMOUNT, budget)
        yield ClaimRow(f"students: {name}", budget, "taught", comparison, paper=paper)


def _of_real(rows: Rows) -> Iterator[ClaimRow]:
    for name in study_real.SETS:
        yield ClaimRow(
            f"students, {name}: C by people - text",
            "passes",
            study_real.PART,
            real_tables.comparison_of(rows, name, "C", "text", "passes"),
            paper=_summary(_in_single_tasks("C/human", "text", f"/{name}")),
        )
        yield ClaimRow(
            f"students, {name}: C by people - C-permuted",
            "steps",
            study_real.PART,
            real_tables.comparison_of(rows, name, "C", "C-permuted", "steps"),
        )


def _hypotheses(rows: Rows) -> dict[str, Conclusion]:
    """Return the comparison of each hypothesis and the verdict on it."""
    primary = tables.primary(rows)
    verdicts = tables.verdicts(primary)
    return {
        name: {"comparison": comparison, "verdict": verdicts.get(name, ("",))[0]}
        for name, comparison in primary.items()
    }


def _by_student(benchmark: str, form: str) -> list[float]:
    """Return accuracy with a form minus that of `text` of each student in Table 7."""
    shown = printed.table(f"students_{benchmark}")
    pairs = [
        (shown.value(form, student), shown.value("text", student)) for student in shown.columns
    ]
    return [one - text for one, text in pairs if one is not None and text is not None]


def _by_stages() -> list[float]:
    """Return accuracy after stage 2 minus that without stages of each teacher in Table 1."""
    shown = printed.table("teachers")
    pairs = [(shown.value(size, "stage2"), shown.value(size, "no_stage")) for size in shown.rows]
    return [staged - mixed for staged, mixed in pairs if staged is not None and mixed is not None]


def _in_single_tasks(explanations: str, base: str, end: str = "") -> list[float]:
    """Return the differences of students of one task, those whose name has this end."""
    shown = printed.table("single_task")
    pairs = [
        (shown.value(student, explanations), shown.value(student, base))
        for student in shown.rows
        if student.endswith(end)
    ]
    return [one - other for one, other in pairs if one is not None and other is not None]


def _summary(differences: Sequence[float]) -> str:
    """Return the mean of some differences with the smallest and the largest of them."""
    mean = statistics.fmean(differences)
    return f"{mean:+.1f} ({min(differences):+.1f} to {max(differences):+.1f})"
