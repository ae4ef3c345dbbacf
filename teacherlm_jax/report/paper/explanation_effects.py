"""Our students with explanations, compared question by question with the same students without.

The paper has no answers to single questions, so its own changes cannot be tested.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report import answers, compared_models, comparison_tables, comparisons
from teacherlm_jax.report.answers import Answers
from teacherlm_jax.report.blocks import Block, Notice
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.compared_models import ComparedSet
from teacherlm_jax.report.comparisons import Comparisons, PairOfModels
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.report.paper import names_of_models, printed
from teacherlm_jax.report.paper.counted import EvaluatedBenchmark
from teacherlm_jax.report.paper.paper_tables import FORMS
from teacherlm_jax.wording import counted as number_of

Cell = tuple[str, str, str]  # benchmark by its format, form and student
WITHOUT = "text"  # form of the students without explanations


@dataclasses.dataclass(frozen=True)
class ExplanationEffects:
    """The comparisons of our students.

    Attributes:
        pairs: student with and without explanations, by cell of Table 7.
        sets: the compared students of each benchmark, by its format.
        problems: a sentence for each benchmark of a run that cannot be compared.
        repeats: a sentence for each evaluation that is left out, as one of an equal training.
        mixed: a sentence for each student whose trainings differ in more than their seeds.
    """

    pairs: Mapping[Cell, PairOfModels]
    sets: Mapping[str, ComparedSet]
    problems: tuple[str, ...]
    repeats: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()

    def of(self, benchmark: str) -> tuple[PairOfModels, ...]:
        """Return the pairs of a benchmark."""
        return tuple(pair for (name, *_), pair in self.pairs.items() if name == benchmark)

    def told_apart(self, benchmarks: Sequence[str], form: str = "") -> tuple[int, int, int]:
        """Return how many pairs of a form are better and worse with explanations, and all pairs.

        Better and worse are those that the paired test tells apart. An empty form stands for all.
        """
        differences = [
            pair.result.difference if pair.result.told_apart else 0.0
            for (benchmark, own, _), pair in self.pairs.items()
            if benchmark in benchmarks and form in ("", own)
        ]
        better, worse = (sum(sign * one > 0 for one in differences) for sign in (1, -1))
        return better, worse, len(differences)

    @property
    def summary(self) -> list[str]:
        """Line for the log; none without a pair."""
        better, worse, pairs = self.told_apart(printed.STUDENT_BENCHMARKS)
        if not pairs:
            return []
        number = number_of(pairs, "comparison")
        outcomes = f"{better} better, {worse} worse, {pairs - better - worse} undecided"
        return [f"{number} of a student with and without explanations: {outcomes}"]

    def all(self) -> Comparisons:
        """Return all comparisons."""
        sets = ((own, self.of(benchmark)) for benchmark, own in self.sets.items())
        return Comparisons(tuple(sets), self.problems)

    def blocks(self, benchmark: str) -> list[Block]:
        """Return the tables of the pairs of a benchmark; none without a pair."""
        pairs = self.of(benchmark)
        return comparison_tables.of_set(self.sets[benchmark], pairs) if pairs else []

    def notices(self) -> list[Block]:
        """Return the notices of evaluations and students to watch; none if there are none."""
        groups = (
            ("Students that are not compared question by question", self.problems),
            ("Repeated trainings, which are compared once and count in the means", self.repeats),
            ("Students whose trainings differ in more than their seeds", self.mixed),
            ("Training not found", tuple(self.all().unknown_trainings())),
        )
        return [Notice(title, lines) for title, lines in groups if lines]


def of_runs(lineage: Lineage, counted: Sequence[EvaluatedBenchmark]) -> ExplanationEffects:
    """Compare the students of Table 7 by the answers of the evaluations that count."""
    forms = (WITHOUT, *FORMS)
    cells = {
        f"student/{student}/multi/{form}": (form, student)
        for student in paper_models.STUDENTS
        for form in forms
    }
    wanted = [one for one in counted if one.stands_for in cells]
    evaluations = {str(one.run.path): one.run for one in wanted}
    read, problems = answers.read_all(list(evaluations.values()))
    by_place = {(str(one.run.path), one.benchmark): one for one in read}
    compared = {}
    for benchmark in printed.STUDENT_BENCHMARKS:
        students: dict[tuple[str, str], list[Answers]] = {}
        for one in wanted:
            found = by_place.get((str(one.run.path), one.name))
            if one.format == benchmark and found is not None:
                students.setdefault(cells[one.stands_for], []).append(found)
        if own := _compared(benchmark, students, lineage):
            compared[benchmark] = own
    return ExplanationEffects(
        {cell: pair for own in compared.values() for cell, pair in own.pairs.items()},
        {benchmark: own.set for benchmark, own in compared.items()},
        tuple(problems),
        tuple(dict.fromkeys(line for own in compared.values() for line in own.repeats)),
        tuple(dict.fromkeys(line for own in compared.values() for line in own.mixed)),
    )


@dataclasses.dataclass(frozen=True)
class _OfBenchmark:
    """The compared students of a benchmark; see `ExplanationEffects`."""

    set: ComparedSet
    pairs: Mapping[Cell, PairOfModels]
    repeats: Sequence[str]
    mixed: Sequence[str]


def _compared(
    benchmark: str, students: Mapping[tuple[str, str], Sequence[Answers]], lineage: Lineage
) -> _OfBenchmark | None:
    """Return the students of a benchmark and their pairs; None if no student has both forms."""
    explained = [
        (form, student)
        for form, student in students
        if form != WITHOUT and (WITHOUT, student) in students
    ]
    if not explained:
        return None
    used = dict.fromkeys([*explained, *((WITHOUT, student) for _, student in explained)])
    training_of = compared_models.trainings_of(
        [one for own in used for one in students[own]], lineage
    )
    labelled, repeats = [], []
    for own in used:
        kept, again = compared_models.without_repeats(students[own], training_of, lineage)
        labelled.append((_label(*own), kept))
        repeats += [_repeat(one, first) for one, first in again]
    found = compared_models.compared_set(labelled, training_of, lineage)
    found = dataclasses.replace(found, benchmark=names_of_models.dataset(benchmark))
    by_label = {model.label: model for model in found.models}
    pairs = comparisons.compare_pairs(
        found,
        [(by_label[_label(*own)], by_label[_label(WITHOUT, own[1])]) for own in explained],
    )
    cells = {_label(*own): (benchmark, *own) for own in explained}
    by_cell = {cells[pair.first.label]: pair for pair in pairs}
    return _OfBenchmark(found, by_cell, repeats, _mixed(labelled, training_of, lineage))


def _repeat(one: Answers, first: Answers) -> str:
    return (
        f"{one.run.name}: its model, or the recipe and seeds of its training, is that of "
        f"{first.run.name}"
    )


def _mixed(
    labelled: Sequence[tuple[str, Sequence[Answers]]],
    training_of: Mapping[str, RunRecord | None],
    lineage: Lineage,
) -> list[str]:
    """Return a sentence for each model whose known trainings have several recipes."""
    lines = []
    for label, group in labelled:
        trainings = [run for one in group if (run := training_of[str(one.run.path)]) is not None]
        if len({lineage.recipe(training) for training in trainings}) > 1:
            names = ", ".join(one.run.name for one in group)
            lines.append(
                f"{label}: {names}; intervals and tests take them for seeds of one training, so "
                f"repeat those that do not belong with config.{paper_models.KEY}="
                f"{paper_models.NONE}"
            )
    return lines


def _label(form: str, student: str) -> str:
    return f"{names_of_models.student(student)}, {names_of_models.form(form)}"
