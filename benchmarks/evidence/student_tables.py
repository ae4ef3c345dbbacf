"""Tables of students: accuracies of the arms of a part, and differences from one of them."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.comparisons import Comparison
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT

NAMES = {"cot": "chains of thought", "fundamental": "fundamentals", "mistake": "common mistakes"}
BUDGETS = ("steps", "tokens", "passes")
AGAIN = "CMF, trained again"  # the students that the part `causes` trains beside its own
# Arms of the part `students` that the arms of a part are compared with.
REFERENCES = {"forms": ("text", "CMF"), "causes": ("CMF", "text")}
# Arms whose explanations a teacher wrote, after the arm that they are compared with: by the
# generator and a teacher, by one teacher and three specialists, without and with a check.
TAUGHT_PAIRS = (
    ("taught-CMF", "taught-stage2", "taught-specialists"),
    ("taught-stage2", "taught-specialists"),
    ("taught-each", "taught-each-checked"),
)
Runs = Sequence[Mapping[str, Any]]
Rows = Mapping[str, list[Mapping[str, Any]]]  # outcomes by kind: students, teachers, …


def of_part(part: str, rows: Rows) -> str:
    """Return a table of the arms of a part, compared with its base."""
    arms = (study_students.BASES.get(part, "text"), *study_students.ADDED[part])
    return student_table(students_of(part, rows), arms, MAIN_AMOUNT)


def of_main(rows: Rows) -> str:
    """Return differences from `text` and from CMF-permuted, also of CMF that was trained again."""
    again = [row | {"arm": AGAIN} for row in rows["bases"] if row["part"] == "causes"]
    students = [*rows["students"], *again]
    from_text = (*study_students.MAIN_ARMS, AGAIN)
    from_permuted = (study_students.PERMUTED, "CMF", AGAIN)
    return _joined(student_table(students, arms, MAIN_AMOUNT) for arms in (from_text, from_permuted))


def of_amounts(rows: Rows) -> str:
    """Return differences from `text`, and of CMF from CMF-permuted, by number of samples."""
    compared = (study_students.ADDED["amounts"], (study_students.PERMUTED, "CMF"))
    return _joined(
        student_table(rows["students"], arms, amount)
        for amount in study_students.AMOUNTS
        for arms in compared
    )


def of_forms(rows: Rows) -> str:
    """Return differences of the forms from `text`, and from CMF."""
    from_cmf = student_table(
        students_of("forms", rows), ("CMF", *study_students.ADDED["forms"]), MAIN_AMOUNT
    )
    return _joined((of_part("forms", rows), from_cmf))


def of_causes(rows: Rows) -> str:
    """Return differences from CMF; between losses on all tokens; and from a loss on letters."""
    compared = (
        ("text-whole-text", "CMF-whole-text"),
        ("CMF-answer", "text", f"CMF-{study_students.false_author(100)}"),
    )
    others = (student_table(rows["students"], arms, MAIN_AMOUNT) for arms in compared)
    return _joined((of_part("causes", rows), *others))


def students_of(part: str, rows: Rows) -> Runs:
    """Return all students, with the base that was run with the arms of a part.

    If a seed lacks its own base, that of the part `students` is used for all seeds.
    """
    arms = study_students.ADDED[part]
    bases = [row for row in rows["bases"] if row["part"] == part]
    if {row["seed"] for row in rows["students"] if row["arm"] in arms} - {
        row["seed"] for row in bases
    }:
        return rows["students"]
    replaced = {(row["arm"], row["amount"]) for row in bases}
    others = (row for row in rows["students"] if (row["arm"], row["amount"]) not in replaced)
    return [*others, *bases]


def _joined(tables: Iterable[str]) -> str:
    return "\n".join(filter(None, tables))


def course(rows: Rows) -> str:
    """Return accuracies along the training, and differences at equal steps."""
    students = [
        row
        for row in rows["students"]
        if row["amount"] == MAIN_AMOUNT and row["arm"] in study_students.MAIN_ARMS
    ]
    steps = [step for step, _ in students[0]["curve"]] if students else []
    arms = [arm for arm in study_students.MAIN_ARMS if any(row["arm"] == arm for row in students)]
    pairs = (("CMF", "text"), ("CMF", study_students.PERMUTED))

    def line(name: str, accuracy: Callable[[comparisons.Curve], float]) -> list[str]:
        values = {
            (row["arm"], row["seed"]): 100 * accuracy(row["curve"])
            for row in with_common_seeds(students)
        }
        means = (
            statistics.fmean(value for (one, _), value in values.items() if one == arm)
            for arm in arms
        )
        differences = (comparisons.paired(values, *pair) for pair in pairs)
        return [
            name,
            *(f"{mean:.1f}" for mean in means),
            *map(comparisons.with_half_width, differences),
        ]

    lines = [line(f"{step:,}", lambda curve, step=step: dict(curve)[step]) for step in steps]
    lines.append(line(f"mean of the last {comparisons.LATE}", comparisons.late_accuracy))
    header = ("steps", *(f"{arm}, %" for arm in arms), *(f"{one} - {two}" for one, two in pairs))
    return harness.table(header, lines) if steps else ""


def of_real(rows: Rows) -> str:
    """Return accuracies on real questions, differences from `text`, and of C from C-permuted."""
    return _joined((_real_accuracies(rows), _real_differences(rows)))


def _real_accuracies(rows: Rows) -> str:
    """Return accuracies with intervals, and differences from `text`."""
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
                else comparisons.with_half_width(
                    comparisons.of_students(found, arm, "text", amount, budget)
                )
                for budget in BUDGETS
            )
            first = arm == "text"
            lines.append(
                [
                    benchmark if first else "",
                    each[0]["questions"] if first else "",
                    f"{majority:.1f}" if first else "",
                    arm,
                    len(each),
                    f"{mean:.1f} ± {half:.1f}",
                    "yes" if mean - half > majority else "no",
                    *differences,
                ]
            )
    header = ("benchmark", "questions", "majority, %", "arm", "seeds", "accuracy, %")
    more = ("above majority", *(f"equal {one}" for one in BUDGETS))
    return harness.table((*header, *more), lines)


def _real_differences(rows: Rows) -> str:
    """Return the differences of own explanations from those of other samples."""
    lines = []
    for benchmark in study_real.BENCHMARKS:
        found = [row for row in rows["real"] if row["benchmark"] == benchmark]
        amount = found[0]["amount"] if found else 0
        comparison = comparisons.of_students(found, "C", "C-permuted", amount, "steps")
        if comparison is not None:
            difference = comparisons.with_half_width(comparison)
            lines.append([benchmark, len(comparison.differences), difference])
    header = ("benchmark", "seeds", "C - C-permuted, equal steps")
    return harness.table(header, lines) if lines else ""


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
    """Return differences from no explanations, other differences, and what is correct."""
    compared = (study_students.ADDED["taught"], *TAUGHT_PAIRS)
    tables = (student_table(rows["students"], arms, MAIN_AMOUNT) for arms in compared)
    return _joined((*tables, correct_table(rows["written"])))


def student_table(students: Runs, arms: Sequence[str], amount: int) -> str:
    """Return accuracies of arms of students, and their differences from the first of them.

    Seeds that an arm with outcomes lacks are left out. Empty if the first arm has no outcomes.
    """
    base = arms[0]
    students = [row for row in students if row["arm"] in arms and row["amount"] == amount]
    if not any(row["arm"] == base for row in students):
        return ""
    students = with_common_seeds(students)
    if not students:
        return "*No seed has all of these arms.*\n"
    late = {
        (row["arm"], row["seed"]): 100 * comparisons.late_accuracy(row["curve"]) for row in students
    }
    lines = []
    for arm in dict.fromkeys(arms):
        each = [row for row in students if row["arm"] == arm]
        if not each:
            continue
        differences = [
            *(comparisons.of_students(students, arm, base, amount, one) for one in BUDGETS),
            comparisons.paired(late, arm, base),
        ]
        texts = [comparisons.with_half_width(one) for one in differences]
        lines.append(
            [arm, len(each), *_means(each), *(["" for _ in texts] if arm == base else texts)]
        )
    header = ("arm", "seeds", "texts", "passes", "million tokens", "accuracy, %")
    more = (*(f"equal {one}" for one in BUDGETS), f"equal steps, mean of last {comparisons.LATE}")
    return harness.table((*header, *more), lines)


def _means(runs: Runs) -> list[str]:
    """Return the mean of texts, passes, millions of tokens, and accuracy in percent."""
    return [
        format(statistics.fmean(values), form)
        for form, values in (
            (".0f", [row.get("samples", row["amount"]) for row in runs]),
            (".1f", [row["tokens"] / row["pass_tokens"] for row in runs]),
            (".2f", [row["tokens"] / 1e6 for row in runs]),
            (".1f", [100 * row["curve"][-1][1] for row in runs]),
        )
    ]


def with_common_seeds(runs: Runs) -> Runs:
    """Return runs without the seeds that some arm among them lacks."""
    seeds: dict[str, set[int]] = {}
    for row in runs:
        seeds.setdefault(row["arm"], set()).add(row["seed"])
    return [row for row in runs if all(row["seed"] in of_arm for of_arm in seeds.values())]


def correct_table(explanations: Runs) -> str:
    """Return shares of correct explanations by their writer, in percent."""
    of_writer: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in explanations:
        writer = (row["size"], stage_name(row["writer"]))
        of_writer.setdefault(writer, []).append(row["correct"])
    lines = [
        [*writer, len(each), *(percent(correct[kind] for correct in each) for kind in KINDS)]
        for writer, each in sorted(of_writer.items())
    ]
    return harness.table(
        ("size", "correct explanations by", "seeds", *(f"{NAMES[kind]}, %" for kind in KINDS)),
        lines,
    )


def stage_name(stage: str) -> str:
    """Return the name of a stage, or of the teacher that a writer is, in the tables."""
    if stage == study_teachers.CONTROL:
        return "control"
    number, _, kind = stage.removeprefix("stage").partition("_")
    if number == stage:
        return stage  # `specialists`
    return f"stage {number}, {NAMES[kind]}" if kind else f"stage {number}"


def percent(shares: Iterable[float]) -> str:
    """Return the mean of some shares, in percent."""
    return f"{100 * statistics.fmean(shares):.1f}"
