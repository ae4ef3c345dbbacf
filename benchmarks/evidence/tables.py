"""Tables of docs/explanation/evidence.md, from the outcomes alone."""

import functools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.comparisons import Comparison
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT
from teacherlm_jax.pipelines.evidence_steps.study_teachers import MAIN_SIZE

SIGNIFICANT = 0.05
BUDGETS = ("steps", "tokens", "passes")
Runs = Sequence[Mapping[str, Any]]
Rows = Mapping[str, list[Mapping[str, Any]]]  # outcomes by kind: students, teachers, …


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
    return _paired(values, "stage2", "no_stage")


def explained(rows: Runs, size: str, writer: str, kind: str = "") -> Comparison | None:
    """Compare the share of correct explanations with that of the control, in points.

    Without a kind, the mean of all three is compared.
    """
    values = {
        (row["writer"], row["seed"]): 100
        * (row["correct"][kind] if kind else statistics.fmean(row["correct"].values()))
        for row in rows
        if row["size"] == size
    }
    return _paired(values, writer, "no_stage")


def _paired(values: Mapping[tuple[str, int], float], arm: str, other: str) -> Comparison | None:
    seeds = sorted(seed for name, seed in values if name == arm and (other, seed) in values)
    differences = tuple(values[arm, seed] - values[other, seed] for seed in seeds)
    return Comparison(differences) if differences else None


def shown(comparison: Comparison | None) -> str:
    """Return a difference with its interval, such as `+1.2 ± 0.8`."""
    if comparison is None:
        return ""
    half = f" ± {comparison.half:.1f}" if len(comparison.differences) > 1 else ""
    return f"{comparison.mean:+.1f}{half}"


def _primary_table(rows: Rows) -> str:
    found = primary(rows)
    # The protocol adjusts for all hypotheses, so those without outcomes count as not shown.
    adjusted = comparisons.holm({name: one.p if one else 1.0 for name, one in found.items()})
    header = (
        "comparison",
        "difference, points",
        "seeds",
        "p",
        "p (Holm)",
        "verdict",
        "seeds needed",
    )
    return harness.table(
        header,
        [
            (
                name,
                shown(one),
                len(one.differences),
                f"{one.p:.3f}",
                f"{adjusted[name]:.3f}",
                verdict(one, adjusted[name]),
                one.needed(SIGNIFICANT / len(found)),
            )
            for name, one in found.items()
            if one
        ],
    )


def verdict(comparison: Comparison, p: float) -> str:
    """Return what the protocol concludes from an interval and its adjusted p-value."""
    if p >= SIGNIFICANT or abs(comparison.mean) <= comparison.half:
        return "undecided"
    return "supported" if comparison.mean > 0 else "contradicted"


def _student_tables(part: str, rows: Rows) -> str:
    """Return a table for each number of samples of a part."""
    amounts = study_students.AMOUNTS if part == "amounts" else (MAIN_AMOUNT,)
    arms = (study_students.BASES.get(part, "text"), *study_students.ADDED[part])
    tables = (student_table(rows["students"], arms, amount) for amount in amounts)
    return "\n".join(filter(None, tables))


def _taught_tables(rows: Rows) -> str:
    """Return differences from true explanations, those from stage 2's, and what is correct."""
    students = rows["students"]
    arms = ("taught-CMF", *study_students.ADDED["taught"])
    written = ("taught-stage2", "taught-checked", "taught-specialists")
    tables = (student_table(students, names, MAIN_AMOUNT) for names in (arms, written))
    return "\n".join((*tables, _correct_table(rows["written"])))


def student_table(students: Runs, arms: Sequence[str], amount: int) -> str:
    """Return accuracies of arms of students, and their differences from the first of them."""
    base = arms[0]
    lines = []
    for arm in dict.fromkeys(arms):
        each = [row for row in students if row["arm"] == arm and row["amount"] == amount]
        if not each:
            continue
        differences = [
            "" if arm == base else shown(comparisons.of_students(students, arm, base, amount, one))
            for one in BUDGETS
        ]
        means = [
            statistics.fmean(values)
            for values in (
                [row.get("samples", amount) for row in each],
                [100 * row["curve"][-1][1] for row in each],
                [row["tokens"] / 1e6 for row in each],
                [row["tokens"] / row["pass_tokens"] for row in each],
            )
        ]
        samples, accuracy, tokens, passes = means
        costs = (f"{tokens:.2f}", f"{passes:.1f}")
        lines.append([arm, f"{samples:.0f}", f"{accuracy:.1f}", *differences, *costs])
    header = ("arm", "samples", "accuracy, %", *(f"equal {one}" for one in BUDGETS))
    return harness.table((*header, "million tokens", "passes"), lines) if lines else ""


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
            _correct_table(explanations),
        )
    )


def _stage_table(teachers: Runs, explanations: Runs) -> str:
    lines = []
    for size in dict.fromkeys(row["size"] for row in teachers):
        of_size = [row for row in teachers if row["size"] == size]
        letters = (staged(of_size, size, one) for one in ("trained", "unseen"))
        kinds = (explained(explanations, size, "stage2", kind) for kind in ("", *KINDS))
        cells = map(shown, (*letters, *kinds))
        lines.append([f"{size}, {of_size[0]['parameters']:,}", *cells])
    header = ("size, parameters", "letters", "letters, held-out families", "explanations", *KINDS)
    return harness.table(header, lines)


def _level_table(teachers: Runs) -> str:
    """Return mean accuracies of teachers, in percent."""
    of_model: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in teachers:
        of_model.setdefault((row["size"], row["stage"]), []).append(row)
    lines = [
        [*model, *(_percent(row[name] for row in each) for name in ("trained", "unseen"))]
        for model, each in sorted(of_model.items())
    ]
    return harness.table(("size", "stage", "letters, %", "held-out families, %"), lines)


def _correct_table(explanations: Runs) -> str:
    """Return shares of correct explanations by their writer, in percent."""
    of_writer: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in explanations:
        of_writer.setdefault((row["size"], row["writer"]), []).append(row["correct"])
    lines = [
        [*writer, *(_percent(correct[kind] for correct in each) for kind in KINDS)]
        for writer, each in sorted(of_writer.items())
    ]
    return harness.table(("size", "writer", *(f"correct {kind}, %" for kind in KINDS)), lines)


def _percent(shares: Iterable[float]) -> str:
    return f"{100 * statistics.fmean(shares):.1f}"


TABLES = {
    **{part: functools.partial(_student_tables, part) for part in study_students.ADDED},
    **{part: functools.partial(_teacher_tables, part) for part in study_teachers.PARTS},
    "taught": _taught_tables,
    "primary": _primary_table,
}
