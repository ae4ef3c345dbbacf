"""The change of a student's accuracy from explanations, of the paper and of our runs.

A student that learnt from explained samples (a form such as CMF) is compared with the student of
the same model that learnt from the same samples without explanations (`text`).
"""

from collections.abc import Callable, Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import NO_FIGURE, Table
from teacherlm_jax.report.paper import names_of_models, paper_cells, printed
from teacherlm_jax.report.paper.explanation_effects import ExplanationEffects
from teacherlm_jax.report.paper.measured import Accuracy, Measured
from teacherlm_jax.report.paper.paper_tables import FORMS, OURS, signed

Value = Callable[[str, str, str], Accuracy | None]  # of benchmark, form and student


def of_paper(benchmark: str, form: str, student: str) -> Accuracy | None:
    """Return a printed accuracy; None if it is a misprint."""
    value = printed.table(f"students_{benchmark}").value(form, student)
    return None if value is None else Accuracy(value, paper_cells.questions(benchmark), ())


def of_runs(measured: Measured) -> Value:
    """Return the function that gives our accuracy for a benchmark, form and student."""

    def value(benchmark: str, form: str, student: str) -> Accuracy | None:
        return measured.accuracy(f"student/{student}/multi/{form}", benchmark)

    return value


def change(value: Value, benchmark: str, form: str, student: str) -> float | None:
    """Return the change from explanations in percentage points.

    None if a figure is missing, or if the two are on different numbers of questions.
    """
    with_them, without = value(benchmark, form, student), value(benchmark, "text", student)
    if with_them is None or without is None or with_them.rows != without.rows:
        return None
    return with_them.value - without.value


def wins(value: Value, benchmarks: Sequence[str], form: str) -> tuple[int, int]:
    """Return in how many cases explanations raise the accuracy, and the number of cases."""
    changes = [
        found
        for benchmark in benchmarks
        for student in paper_models.STUDENTS
        if (found := change(value, benchmark, form, student)) is not None
    ]
    return sum(found > _NONE for found in changes), len(changes)


# Below the last decimal of the paper, so that the differences of equal numbers are no wins.
_NONE = 0.05


def _not_compared(value: Value, benchmarks: Sequence[str]) -> str:
    """Return a sentence on pairs with different numbers of questions; empty if there are none."""
    pairs = 0
    for benchmark in benchmarks:
        for student in paper_models.STUDENTS:
            without = value(benchmark, "text", student)
            figures = [value(benchmark, form, student) for form in FORMS]
            pairs += sum(bool(without and one and one.rows != without.rows) for one in figures)
    if not pairs:
        return ""
    return f" Pairs of ours on different numbers of questions, which are not compared: {pairs}."


def changes_table(benchmark: str, measured: Measured, effects: ExplanationEffects) -> Table:
    """Return the change from explanations by form and student, and the wins of each form.

    `effects` are the paired comparisons of ours.
    """
    ours = of_runs(measured)
    rows = []
    for form in FORMS:
        rows.append((f"{form}, paper", *_changes(of_paper, benchmark, form), NO_FIGURE))
        if wins(ours, [benchmark], form)[1]:
            better, _, pairs = effects.told_apart([benchmark], form)
            cells = (*_changes(ours, benchmark, form), _share(better, pairs))
            rows.append((f"{form}, {OURS}", *cells))
    name = names_of_models.dataset(benchmark)
    header = ("", *map(names_of_models.student, paper_models.STUDENTS), "wins", "told apart")
    caption = (
        f"Change of {name} accuracy from explanations: percentage points more than the same "
        "student of P3-Sense-3K without them. Wins: students whose accuracy rises, by chance or "
        "not. Told apart: students of ours that a paired test finds better with explanations, of "
        "those whose answers are known; the paper's have no answers to test."
    )
    return Table(caption + _not_compared(ours, [benchmark]), header, tuple(rows))


def wins_table(measured: Measured, effects: ExplanationEffects) -> Table:
    """Return the wins by form and benchmark, of the paper and of ours.

    `effects` are the paired comparisons of ours.
    """
    ours = of_runs(measured)
    every = printed.STUDENT_BENCHMARKS
    groups: list[tuple[str, ...]] = [*((benchmark,) for benchmark in every), every]
    rows = []
    for form in FORMS:
        rows.append((f"{form}, paper", *(_share(*wins(of_paper, group, form)) for group in groups)))
        if wins(ours, every, form)[1]:
            rows.append(
                (f"{form}, {OURS}", *(_share(*wins(ours, group, form)) for group in groups))
            )
        tested = [effects.told_apart(group, form) for group in groups]
        if any(pairs for *_, pairs in tested):
            better = (_share(better, pairs) for better, _, pairs in tested)
            worse = (_share(worse, pairs) for _, worse, pairs in tested)
            rows.append((f"{form}, {OURS}: told apart as better", *better))
            rows.append((f"{form}, {OURS}: told apart as worse", *worse))
    header = ("", *map(names_of_models.dataset, every), "all")
    caption = (
        "Wins of explanations: pairs of a student and a benchmark in which it is more accurate "
        "than without explanations, by chance or not, of all pairs with both figures. Told apart: "
        "pairs of ours that a paired test finds better or worse with explanations, of those whose "
        "answers are known. The misprinted cells of ECQA do not count."
    )
    return Table(caption + _not_compared(ours, every), header, tuple(rows))


def _changes(value: Value, benchmark: str, form: str) -> list[str]:
    cells = [
        signed(change(value, benchmark, form, student), 1) for student in paper_models.STUDENTS
    ]
    return [*cells, _share(*wins(value, [benchmark], form))]


def _share(won: int, of: int) -> str:
    return f"{won} of {of}" if of else NO_FIGURE
