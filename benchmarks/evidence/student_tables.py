"""Tables of students: accuracies of the arms of a part, and differences from one of them."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.comparisons import Comparison
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT

BUDGETS = ("steps", "tokens", "passes")
Runs = Sequence[Mapping[str, Any]]
Rows = Mapping[str, list[Mapping[str, Any]]]  # outcomes by kind: students, teachers, …


def of_part(part: str, rows: Rows) -> str:
    """Return a table for each number of samples of a part."""
    amounts = study_students.AMOUNTS if part == "amounts" else (MAIN_AMOUNT,)
    arms = (study_students.BASES.get(part, "text"), *study_students.ADDED[part])
    tables = [student_table(rows["students"], arms, amount) for amount in amounts]
    if part == "forms":  # which form is best is another question than whether any of them helps
        tables.append(student_table(rows["students"], ("CMF", *arms[1:]), MAIN_AMOUNT))
    return "\n".join(filter(None, tables))


def of_causes(rows: Rows) -> str:
    """Return differences from CMF, and both forms with the loss on all tokens."""
    whole = student_table(rows["students"], ("text-whole-text", "CMF-whole-text"), MAIN_AMOUNT)
    return "\n".join(filter(None, (of_part("causes", rows), whole)))


def course(rows: Rows) -> str:
    """Return accuracies along the training, and differences at equal steps."""
    students = [row for row in rows["students"] if row["amount"] == MAIN_AMOUNT]
    steps = [step for step, _ in students[0]["curve"]] if students else []
    arms = [arm for arm in study_students.MAIN_ARMS if any(row["arm"] == arm for row in students)]
    pairs = (("CMF", "text"), ("CMF", study_students.PERMUTED))
    lines = [_course_line(f"{step:,}", students, [step], arms, pairs) for step in steps]
    late = steps[-comparisons.LATE :]
    lines.append(_course_line("mean of the last six", students, late, arms, pairs))
    header = ("steps", *(f"{arm}, %" for arm in arms), *(f"{one} - {two}" for one, two in pairs))
    return harness.table(header, lines)


def _course_line(
    name: str,
    students: Runs,
    steps: Sequence[int],
    arms: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> list[str]:
    """Return the mean accuracies at some steps, and the differences between pairs of arms."""
    values = {
        (row["arm"], row["seed"]): 100
        * statistics.fmean(dict(row["curve"])[step] for step in steps)
        for row in students
        if row["arm"] in arms
    }
    means = [
        f"{statistics.fmean(value for (name, _), value in values.items() if name == arm):.1f}"
        for arm in arms
    ]
    return [name, *means, *(comparisons.shown(comparisons.paired(values, *pair)) for pair in pairs)]


def of_real(rows: Rows) -> str:
    """Return accuracies on real questions with intervals, and differences from `text`."""
    lines = []
    for benchmark in study_real.BENCHMARKS:
        found = [row for row in rows["real"] if row["benchmark"] == benchmark]
        for arm in study_real.ARMS:
            each = [row for row in found if row["arm"] == arm]
            if not each:
                continue
            amount, majority = each[0]["amount"], 100 * each[0]["majority"]
            mean, half = accuracy_with_interval(each)
            differences = (
                ""
                if arm == "text"
                else comparisons.shown(comparisons.of_students(found, arm, "text", amount, budget))
                for budget in BUDGETS
            )
            first = arm == "text"
            lines.append(
                [
                    benchmark if first else "",
                    each[0]["questions"] if first else "",
                    f"{majority:.1f}" if first else "",
                    arm,
                    f"{mean:.1f} ± {half:.1f}",
                    "yes" if mean - half > majority else "no",
                    *differences,
                ]
            )
    header = ("benchmark", "questions", "majority, %", "arm", "accuracy, %", "above majority")
    return harness.table((*header, *(f"equal {one}" for one in BUDGETS)), lines)


def accuracy_with_interval(each: Runs) -> tuple[float, float]:
    """Return the mean accuracy of an arm on a benchmark and half its 95% interval, in percent.

    The interval covers the seeds and the choice of the questions. For one seed it covers the
    questions only.
    """
    level = Comparison(tuple(100 * row["curve"][-1][1] for row in each))
    of_seeds = level.half if len(each) > 1 else 0.0
    of_questions = 1.96 * math.sqrt(level.mean * (100 - level.mean) / each[0]["questions"])
    return level.mean, math.hypot(of_seeds, of_questions)


def of_taught(rows: Rows) -> str:
    """Return differences from true explanations, those from stage 2's, and what is correct."""
    students = rows["students"]
    arms = ("taught-CMF", *study_students.ADDED["taught"])
    written = ("taught-stage2", "taught-checked", "taught-specialists")
    tables = (student_table(students, names, MAIN_AMOUNT) for names in (arms, written))
    return "\n".join((*tables, correct_table(rows["written"])))


def student_table(students: Runs, arms: Sequence[str], amount: int) -> str:
    """Return accuracies of arms of students, and their differences from the first of them.

    They are those of the seeds that all of these arms have.
    """
    base = arms[0]
    students = [row for row in students if row["arm"] in arms and row["amount"] == amount]
    students = with_common_seeds(students)
    late = {
        (row["arm"], row["seed"]): 100 * comparisons.late_accuracy(row["curve"]) for row in students
    }
    lines = []
    for arm in dict.fromkeys(arms):
        each = [row for row in students if row["arm"] == arm]
        if not each:
            continue
        differences = [
            ""
            if arm == base
            else comparisons.shown(comparisons.of_students(students, arm, base, amount, one))
            for one in BUDGETS
        ]
        differences.append(
            "" if arm == base else comparisons.shown(comparisons.paired(late, arm, base))
        )
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
    more = ("equal steps, last six", "million tokens", "passes")
    return harness.table((*header, *more), lines) if lines else ""


def with_common_seeds(rows: Runs) -> Runs:
    """Return the rows whose seeds every arm among them has."""
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(row["arm"], set()).add(row["seed"])
    return [row for row in rows if all(row["seed"] in found for found in seeds.values())]


def correct_table(explanations: Runs) -> str:
    """Return shares of correct explanations by their writer, in percent."""
    of_writer: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in explanations:
        of_writer.setdefault((row["size"], row["writer"]), []).append(row["correct"])
    lines = [
        [*writer, *(percent(correct[kind] for correct in each) for kind in KINDS)]
        for writer, each in sorted(of_writer.items())
    ]
    return harness.table(("size", "writer", *(f"correct {kind}, %" for kind in KINDS)), lines)


def percent(shares: Iterable[float]) -> str:
    """Return the mean of some shares, in percent."""
    return f"{100 * statistics.fmean(shares):.1f}"
