"""Tables of students: accuracies of the arms of a part, and differences from one of them."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.outcomes import Rows, Runs
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.pipelines.evidence_steps import study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import MAIN_AMOUNT, SIZES

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


def of_part(part: str, rows: Rows) -> str:
    """Return a table of the arms of a part, compared with its base."""
    arms = (study_students.BASES.get(part, "text"), *study_students.ADDED[part])
    amounts = study_students.amounts_of(part)
    return joined(student_table(with_base(part, rows), arms, amount) for amount in amounts)


def of_main(rows: Rows) -> str:
    """Return differences from `text` and from CMF-permuted, also of CMF that was trained again."""
    students = _with_again(rows)
    from_text = (*study_students.MAIN_ARMS, AGAIN)
    from_permuted = (study_students.PERMUTED, "CMF", AGAIN)
    return joined(student_table(students, arms, MAIN_AMOUNT) for arms in (from_text, from_permuted))


def of_amounts(rows: Rows) -> str:
    """Return differences from `text`, and of CMF from CMF-permuted, by number of samples."""
    compared = (study_students.ADDED["amounts"], (study_students.PERMUTED, "CMF"))
    return joined(
        student_table(rows["students"], arms, amount)
        for amount in study_students.amounts_of("amounts")
        for arms in compared
    )


def of_forms(rows: Rows) -> str:
    """Return differences of the forms from `text`, and from CMF of the first and second training.

    The forms were trained by the code of the second one.
    """
    students = _with_again(rows | {"students": with_base("forms", rows)})
    forms = study_students.ADDED["forms"]
    from_cmf = (student_table(students, (base, *forms), MAIN_AMOUNT) for base in ("CMF", AGAIN))
    return joined((of_part("forms", rows), *from_cmf))


def _with_again(rows: Rows) -> Runs:
    """Return all students, with those of CMF that were trained again."""
    again = [row | {"arm": AGAIN} for row in rows["bases"] if row["part"] == "causes"]
    return [*rows["students"], *again]


def of_causes(rows: Rows) -> str:
    """Return differences from CMF; with losses on all tokens; and from a loss on letters."""
    compared = (
        ("text-whole-text", "CMF-whole-text"),
        ("text", "text-whole-text"),
        ("CMF-answer", "text", f"CMF-{study_students.false_author(100)}"),
    )
    others = (student_table(rows["students"], arms, MAIN_AMOUNT) for arms in compared)
    return joined((of_part("causes", rows), *others))


def has_own_base(part: str, rows: Rows) -> bool:
    """Return whether each seed of a part has the base that was trained beside its arms."""
    arms = study_students.ADDED.get(part, ())
    seeds = {row["seed"] for row in rows["students"] if row["arm"] in arms}
    bases = {row["seed"] for row in rows["bases"] if row["part"] == part}
    return bool(bases) and seeds <= bases


def with_base(part: str, rows: Rows) -> Runs:
    """Return all students, with the base that was trained beside the arms of a part.

    If a seed lacks its own base, that of the part `students` is used for all seeds.
    """
    if not has_own_base(part, rows):
        return rows["students"]
    bases = [row for row in rows["bases"] if row["part"] == part]
    replaced = {(row["arm"], row["amount"]) for row in bases}
    others = (row for row in rows["students"] if (row["arm"], row["amount"]) not in replaced)
    return [*others, *bases]


def joined(tables: Iterable[str]) -> str:
    """Return tables below each other, without those that are empty."""
    return "\n".join(filter(None, tables))


def course(rows: Rows) -> str:
    """Return accuracies along the training, and differences at equal steps."""
    students = with_common_seeds(
        [
            row
            for row in rows["students"]
            if row["amount"] == MAIN_AMOUNT and row["arm"] in study_students.MAIN_ARMS
        ]
    )
    steps = [step for step, _ in students[0]["curve"]] if students else []
    arms = [arm for arm in study_students.MAIN_ARMS if any(row["arm"] == arm for row in students)]
    pairs = (("CMF", "text"), ("CMF", study_students.PERMUTED))

    def line(name: str, accuracy: Callable[[comparisons.Curve], float]) -> list[str]:
        values = {(row["arm"], row["seed"]): 100 * accuracy(row["curve"]) for row in students}
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


def of_taught(rows: Rows) -> str:
    """Return differences from no explanations, other differences, and what is correct."""
    compared = (study_students.ADDED["taught"], *TAUGHT_PAIRS)
    tables = (student_table(rows["students"], arms, MAIN_AMOUNT) for arms in compared)
    return joined((*tables, correct_table(rows["written"])))


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
        of_arm = [row for row in students if row["arm"] == arm]
        if not of_arm:
            continue
        differences = [
            *(comparisons.of_arms(students, arm, base, amount, one) for one in BUDGETS),
            comparisons.paired(late, arm, base),
        ]
        texts = [comparisons.with_half_width(one) for one in differences]
        lines.append(
            [arm, len(of_arm), *_means(of_arm), *(["" for _ in texts] if arm == base else texts)]
        )
    header = ("arm", "seeds", "texts", "passes", "million tokens", "accuracy, %")
    more = (*(f"equal {one}" for one in BUDGETS), f"equal steps, mean of last {comparisons.LATE}")
    return harness.table((*header, *more), lines)


def _means(runs: Runs) -> list[str]:
    """Return the mean of texts, passes, millions of tokens, and accuracy in percent."""
    return [
        format(statistics.fmean(values), form)
        for form, values in (
            (".0f", [row["texts"] for row in runs]),
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
        [*writer, len(shares), *(percent(correct[kind] for correct in shares) for kind in KINDS)]
        for writer, shares in sorted(of_writer.items(), key=lambda item: by_size(*item[0]))
    ]
    return harness.table(
        ("size", "correct explanations by", "seeds", *(f"{NAMES[kind]}, %" for kind in KINDS)),
        lines,
    )


def by_size(size: str, name: str) -> tuple[int, str]:
    """Return a sort key of a size of a teacher and a name: small teachers first."""
    return list(SIZES).index(size), name


def stage_name(stage: str) -> str:
    """Return the name of a stage, or of the teacher that a writer is, in the tables."""
    if stage == study_teachers.CONTROL:
        return "control"
    if stage == study_teachers.RESTARTED:
        return "control, restarted"
    number, _, kind = stage.removeprefix("stage").partition("_")
    if number == stage:
        return stage  # `specialists`
    return f"stage {number}, {NAMES[kind]}" if kind else f"stage {number}"


def percent(shares: Iterable[float]) -> str:
    """Return the mean of some shares, in percent."""
    return f"{100 * statistics.fmean(shares):.1f}"
