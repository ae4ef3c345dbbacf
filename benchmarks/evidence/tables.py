"""Tables of docs/explanation/evidence.md by their name: the hypotheses, teachers, and students."""

import functools
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import harness
from benchmarks.evidence import comparisons, real_tables, student_tables
from benchmarks.evidence.comparisons import Comparison, Missing
from benchmarks.evidence.outcomes import Rows, Runs
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.pipelines.evidence_steps.study_teachers import MAIN_SIZE

SIGNIFICANT = 0.05
INCOMPLETE = "incomplete"
CONTROL, RESTARTED = study_teachers.CONTROL, study_teachers.RESTARTED
# Comparisons of teachers by their name, in the table of a part.
PAIRS = {
    "stage 2 - control": ("stage2", CONTROL),
    "specialists - stage 2": ("specialists", "stage2"),
    "specialists - control": ("specialists", CONTROL),
}
RESTARTED_PAIRS = {
    "restarted - control": (RESTARTED, CONTROL),
    "stage 2 - restarted": ("stage2", RESTARTED),
}

LABELS = {
    "H1": "CMF - text, equal passes",
    "H2": "CMF - text, equal tokens",
    "H3": "CMF - CMF-permuted, equal steps",
    "H4": "stage 2 - control, accuracy, equal tokens",
    "H5": "stage 2 - control, correct explanations, equal tokens",
}


def primary(rows: Rows) -> dict[str, Comparison | Missing]:
    """Return the comparison of each hypothesis, by its name in `LABELS`."""
    of_students = functools.partial(comparisons.of_arms, rows["students"], amount=MAIN_AMOUNT)
    return {
        "H1": of_students(arm="CMF", other="text", budget="passes"),
        "H2": of_students(arm="CMF", other="text", budget="tokens"),
        "H3": of_students(arm="CMF", other=study_students.PERMUTED, budget="steps"),
        "H4": staged(rows["teachers"], MAIN_SIZE, "trained"),
        "H5": explained(rows["explained"], MAIN_SIZE, "stage2"),
    }


def verdicts(by_name: Mapping[str, Comparison | Missing]) -> dict[str, tuple[str, float]]:
    """Return the verdict on each hypothesis that has a comparison, and its adjusted p-value.

    The protocol adjusts for all hypotheses. One that is not complete counts with p = 1, so the
    adjusted p-values of the others are upper bounds until all are complete.
    """
    tested = {name: one for name, one in by_name.items() if isinstance(one, Comparison)}
    p_values = {name: one.p if one.complete else 1.0 for name, one in tested.items()}
    adjusted = comparisons.holm(dict.fromkeys(by_name, 1.0) | p_values)
    return {name: (verdict(one, adjusted[name]), adjusted[name]) for name, one in tested.items()}


def staged(
    rows: Runs, size: str, benchmark: str, stage: str = "stage2", other: str = CONTROL
) -> Comparison | Missing:
    """Compare accuracies after two stages, in points."""
    values = {
        (row["stage"], row["seed"]): 100 * row[benchmark] for row in rows if row["size"] == size
    }
    return comparisons.paired(values, stage, other)


def explained(
    rows: Runs, size: str, writer: str, kind: str = "", other: str = CONTROL
) -> Comparison | Missing:
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


def _primary_table(rows: Rows) -> str:
    by_name = primary(rows)
    judged = verdicts(by_name)
    lines = []
    for name, label in LABELS.items():
        comparison = by_name[name]
        cells = ["", 0, "", "", "no outcomes"]
        if isinstance(comparison, Comparison):
            conclusion, adjusted = judged[name]
            p_values = (comparison.p, adjusted) if comparison.complete else ()
            cells = [
                comparisons.with_half_width(comparison),
                len(comparison.differences),
                *(f"{p:.3f}" for p in p_values),
                *([] if p_values else ["", ""]),
                conclusion,
            ]
        lines.append([f"{name}: {label}", *cells])
    header = ("comparison", "difference, points", "seeds", "p", "p (Holm)", "verdict")
    return harness.table(header, lines)


def verdict(comparison: Comparison, p: float) -> str:
    """Return what the protocol concludes from an interval and its adjusted p-value."""
    if not comparison.complete:
        return INCOMPLETE
    if p >= SIGNIFICANT or abs(comparison.mean) <= comparison.half:
        return "undecided"
    return "supported" if comparison.mean > 0 else "contradicted"


def _teacher_tables(part: str, rows: Rows) -> str:
    """Return comparisons of the teachers of a part, and the levels of all of them."""
    pairs, names = PAIRS, {*study_teachers.stages_of(study_teachers.WRITERS), "specialists"}
    if part == study_teachers.RESTARTS:
        pairs = RESTARTED_PAIRS
        names = {name for pair in pairs.values() for name in pair}
    teachers, explanations = (
        [
            row
            for size in study_teachers.PARTS[part]
            for row in rows[kind]
            if row["size"] == size and row[name] in names
        ]
        for kind, name in (("teachers", "stage"), ("explained", "writer"))
    )
    return "\n".join(
        (
            _stage_table(teachers, explanations, pairs),
            _level_table(teachers),
            student_tables.correct_table(explanations),
        )
    )


def _stage_table(teachers: Runs, explanations: Runs, pairs: Mapping[str, tuple[str, str]]) -> str:
    lines = []
    for size in dict.fromkeys(row["size"] for row in teachers):
        of_size = [row for row in teachers if row["size"] == size]
        for number, (name, (writer, other)) in enumerate(pairs.items()):
            accuracies = ["", ""]  # the three specialists have no common one
            if writer != "specialists":
                accuracies = [
                    comparisons.with_half_width(staged(of_size, size, one, writer, other))
                    for one in ("trained", "unseen")
                ]
            shares = (explained(explanations, size, writer, kind, other) for kind in ("", *KINDS))
            label = "" if number else f"{size}, {of_size[0]['parameters']:,}"
            pair = explained(explanations, size, writer, other=other)
            seeds = len(pair.differences) if isinstance(pair, Comparison) else 0
            cells = map(comparisons.with_half_width, shares)
            lines.append([label, name, seeds, *accuracies, *cells])
    header = ("size, parameters", "difference", "seeds", "accuracy", "accuracy, held-out families")
    names = (student_tables.NAMES[kind] for kind in KINDS)
    return harness.table((*header, "correct explanations", *names), lines)


def _level_table(teachers: Runs) -> str:
    """Return mean accuracies of teachers, in percent."""
    of_model: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in teachers:
        of_model.setdefault((row["size"], student_tables.stage_name(row["stage"])), []).append(row)
    lines = [
        [
            *model,
            len(runs),
            *(student_tables.percent(row[name] for row in runs) for name in ("trained", "unseen")),
        ]
        for model, runs in sorted(
            of_model.items(), key=lambda item: student_tables.by_size(*item[0])
        )
    ]
    header = ("size", "teacher", "seeds", "accuracy, %", "accuracy, held-out families, %")
    return harness.table(header, lines)


TABLES = {
    "students": student_tables.of_main,
    "amounts": student_tables.of_amounts,
    "forms": student_tables.of_forms,
    "causes": student_tables.of_causes,
    "taught": student_tables.of_taught,
    study_real.PART: real_tables.table,
    "course": student_tables.course,
    **{part: functools.partial(_teacher_tables, part) for part in study_teachers.PARTS},
    "primary": _primary_table,
}
