"""The change of a student's accuracy from explanations, of the paper and of our runs.

A student that learnt from explained samples (a form such as CMF) is compared with the student of
the same model that learnt from the same samples without explanations (`text`).
"""

from collections.abc import Callable, Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import NO_FIGURE, Table
from teacherlm_jax.report.paper import names_of_models, printed
from teacherlm_jax.report.paper.explanation_effects import WITHOUT, ExplanationEffects
from teacherlm_jax.report.paper.measured import Accuracy, Measured
from teacherlm_jax.report.paper.paper_tables import FORMS, OURS, signed

# Change in percentage points of a benchmark, form and student; None if it is not known.
Change = Callable[[str, str, str], float | None]

_ROUNDING = 0.05  # points; half a step of the paper's last decimal
_WIN = f"a rise of more than {_ROUNDING} points; no test is applied, so a win may be due to chance."


def of_paper(benchmark: str, form: str, student: str) -> float | None:
    """Return the change of the printed accuracies; None if one of them is a misprint."""
    table = printed.table(f"students_{benchmark}")
    with_them, without = table.value(form, student), table.value(WITHOUT, student)
    return None if with_them is None or without is None else with_them - without


def of_runs(measured: Measured, effects: ExplanationEffects) -> Change:
    """Return the function that gives the change of ours.

    If both students have equally many questions, it is the difference of their accuracies. If not,
    it is that on the questions that both answered, and None if their answers are not known.
    """

    def change(benchmark: str, form: str, student: str) -> float | None:
        figures = _figures(measured, benchmark, form, student)
        if figures is None:
            return None
        with_them, without = figures
        if with_them.rows == without.rows:
            return with_them.value - without.value
        pair = effects.pairs.get((benchmark, form, student))
        return None if pair is None else 100 * pair.result.difference

    return change


def wins(change: Change, benchmarks: Sequence[str], form: str) -> tuple[int, int]:
    """Return in how many cases explanations raise the accuracy, and the number of cases."""
    changes = [
        found
        for benchmark in benchmarks
        for student in paper_models.STUDENTS
        if (found := change(benchmark, form, student)) is not None
    ]
    return sum(found > _ROUNDING for found in changes), len(changes)


def _figures(
    measured: Measured, benchmark: str, form: str, student: str
) -> tuple[Accuracy, Accuracy] | None:
    """Return our accuracies with and without explanations; None if one of them is missing."""
    with_them, without = (
        measured.accuracy(f"student/{student}/multi/{one}", benchmark) for one in (form, WITHOUT)
    )
    return (with_them, without) if with_them and without else None


def _unequal(measured: Measured, change: Change, benchmarks: Sequence[str]) -> str:
    """Return sentences on pairs with different numbers of questions; empty if there are none."""
    compared = [
        change(benchmark, form, student) is not None
        for benchmark in benchmarks
        for form in FORMS
        for student in paper_models.STUDENTS
        if (figures := _figures(measured, benchmark, form, student))
        and figures[0].rows != figures[1].rows
    ]
    text = ""
    if known := compared.count(True):
        text += f" Pairs of ours that are compared on the questions that both answered: {known}."
    if unknown := compared.count(False):
        text += (
            " Pairs of ours that are not compared, because they are on different numbers of "
            f"questions and their answers are not known: {unknown}."
        )
    return text


def changes_table(benchmark: str, measured: Measured, effects: ExplanationEffects) -> Table:
    """Return the change from explanations by form and student, and the wins of each form.

    `effects` are the paired comparisons of ours.
    """
    ours = of_runs(measured, effects)
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
        "student of P3-Sense-3K without them. Wins: students with "
        f"{_WIN} Told apart: students of ours that a paired test finds better with explanations, "
        "of those whose answers are known; the paper's have no answers to test."
    )
    return Table(caption + _unequal(measured, ours, [benchmark]), header, tuple(rows))


def wins_table(measured: Measured, effects: ExplanationEffects) -> Table:
    """Return the wins by form and benchmark, of the paper and of ours.

    `effects` are the paired comparisons of ours.
    """
    ours = of_runs(measured, effects)
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
        "Wins of explanations, of all pairs of a student and a benchmark with both figures: "
        f"{_WIN} Told apart: pairs of ours that a paired test finds better or worse with "
        "explanations, of those whose answers are known. The misprinted cells of ECQA do not count."
    )
    return Table(caption + _unequal(measured, ours, every), header, tuple(rows))


def _changes(change: Change, benchmark: str, form: str) -> list[str]:
    cells = [signed(change(benchmark, form, student), 1) for student in paper_models.STUDENTS]
    return [*cells, _share(*wins(change, [benchmark], form))]


def _share(won: int, of: int) -> str:
    return f"{won} of {of}" if of else NO_FIGURE
