"""Tables of docs/explanation/evidence.md by their name: the hypotheses, teachers, and students."""

import functools
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import harness
from benchmarks.evidence import comparisons, student_tables
from benchmarks.evidence.comparisons import Comparison
from benchmarks.evidence.student_tables import Rows, Runs
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT, SEEDS
from teacherlm_jax.pipelines.evidence_steps.study_teachers import MAIN_SIZE

SIGNIFICANT = 0.05


def primary(rows: Rows) -> dict[str, Comparison | None]:
    """Return the primary comparisons of the protocol by their question; None: without outcomes."""
    students = rows["students"]
    return {
        "H1: CMF against text, equal passes": comparisons.of_students(
            students, "CMF", "text", MAIN_AMOUNT, "passes"
        ),
        "H2: CMF against text, equal tokens": comparisons.of_students(
            students, "CMF", "text", MAIN_AMOUNT, "tokens"
        ),
        "H3: CMF against permuted explanations, equal steps": comparisons.of_students(
            students, "CMF", study_students.PERMUTED, MAIN_AMOUNT, "steps"
        ),
        "H4: staged against no stage, letters": staged(rows["teachers"], MAIN_SIZE, "trained"),
        "H5: staged against no stage, explanations": explained(
            rows["explained"], MAIN_SIZE, "stage2"
        ),
    }


def staged(rows: Runs, size: str, benchmark: str) -> Comparison | None:
    """Compare accuracies after stage 2 with those of the control, in points."""
    values = {
        (row["stage"], row["seed"]): 100 * row[benchmark] for row in rows if row["size"] == size
    }
    return comparisons.paired(values, "stage2", "no_stage")


def explained(
    rows: Runs, size: str, writer: str, kind: str = "", other: str = study_teachers.CONTROL
) -> Comparison | None:
    """Compare the shares of correct explanations by two writers, in points.

    Without a kind, the mean of all three is compared.
    """
    values = {
        (row["writer"], row["seed"]): 100
        * (row["correct"][kind] if kind else statistics.fmean(row["correct"].values()))
        for row in rows
        if row["size"] == size
    }
    return comparisons.paired(values, writer, other)


def judged(rows: Rows) -> dict[str, tuple[Comparison | None, str]]:
    """Return the comparison of each hypothesis, and the verdict on it, by "H1" to "H5"."""
    found = primary(rows)
    adjusted = _adjusted(found)
    return {
        name.partition(":")[0]: (one, verdict(one, adjusted[name]) if one else "")
        for name, one in found.items()
    }


def _adjusted(found: Mapping[str, Comparison | None]) -> dict[str, float]:
    """Return adjusted p-values; the protocol counts hypotheses without outcomes with p = 1."""
    return comparisons.holm({name: one.p if one else 1.0 for name, one in found.items()})


def _primary_table(rows: Rows) -> str:
    found = primary(rows)
    adjusted = _adjusted(found)
    header = (
        "comparison",
        "difference, points",
        "seeds",
        "p",
        "p (Holm)",
        "verdict",
    )
    return harness.table(
        header,
        [
            (
                name,
                comparisons.shown(one),
                len(one.differences),
                f"{one.p:.3f}",
                f"{adjusted[name]:.3f}",
                verdict(one, adjusted[name]),
            )
            for name, one in found.items()
            if one
        ],
    )


def verdict(comparison: Comparison, p: float) -> str:
    """Return what the protocol concludes from an interval and its adjusted p-value."""
    if len(comparison.differences) < SEEDS:
        return "incomplete"
    if p >= SIGNIFICANT or abs(comparison.mean) <= comparison.half:
        return "undecided"
    return "supported" if comparison.mean > 0 else "contradicted"


def _teacher_tables(part: str, rows: Rows) -> str:
    """Return comparisons of staged teachers with the control, and the levels of all."""
    sizes = study_teachers.PARTS[part]
    teachers, explanations = (
        [row for row in rows[name] if row["size"] in sizes] for name in ("teachers", "explained")
    )
    return "\n".join(
        (
            _stage_table(teachers, explanations),
            _level_table(teachers),
            student_tables.correct_table(explanations),
        )
    )


def _stage_table(teachers: Runs, explanations: Runs) -> str:
    lines = []
    for size in dict.fromkeys(row["size"] for row in teachers):
        of_size = [row for row in teachers if row["size"] == size]
        letters = (staged(of_size, size, one) for one in ("trained", "unseen"))
        kinds = (explained(explanations, size, "stage2", kind) for kind in ("", *KINDS))
        cells = map(comparisons.shown, (*letters, *kinds))
        lines.append([f"{size}, {of_size[0]['parameters']:,}", "stage 2 - control", *cells])
        for name, other in (("stage 2", "stage2"), ("control", study_teachers.CONTROL)):
            further = (
                explained(explanations, size, "specialists", kind, other) for kind in ("", *KINDS)
            )
            cells = map(comparisons.shown, further)
            lines.append(["", f"specialists - {name}", "", "", *cells])
    header = ("size, parameters", "difference", "letters", "letters, held-out families")
    return harness.table((*header, "explanations", *KINDS), lines)


def _level_table(teachers: Runs) -> str:
    """Return mean accuracies of teachers, in percent."""
    of_model: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in teachers:
        of_model.setdefault((row["size"], row["stage"]), []).append(row)
    lines = [
        [
            *model,
            *(student_tables.percent(row[name] for row in each) for name in ("trained", "unseen")),
        ]
        for model, each in sorted(of_model.items())
    ]
    return harness.table(("size", "stage", "letters, %", "held-out families, %"), lines)


TABLES = {
    **{
        part: functools.partial(student_tables.of_part, part)
        for part in ("students", "forms", "amounts")
    },
    "causes": student_tables.of_causes,
    "taught": student_tables.of_taught,
    study_real.PART: student_tables.of_real,
    "course": student_tables.course,
    **{part: functools.partial(_teacher_tables, part) for part in study_teachers.PARTS},
    "primary": _primary_table,
}
