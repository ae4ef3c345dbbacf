"""Evaluated models on the same questions, with runs that differ only in their seed as one model."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.report import answers, training_behind
from teacherlm_jax.report.answers import Answers
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import Lineage, place_in_run
from teacherlm_jax.report.paper import printed
from teacherlm_jax.report.training_behind import TrainingCost


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One model, or several that differ only in the seed of their training.

    Attributes:
        label: name of the model on the page; with several seeds, what their names share.
        runs: their answers, one for each seed.
        seeds: number of different seeds; 0 if their training runs are not known.
        cost: cost of the training run up to the evaluated checkpoint, a mean over the seeds; None
            if it is not known.
        student: whether its data was prepared from explanations of an annotation run.
        unknown_trainings: a sentence for each checkpoint whose training is not known.
    """

    label: str
    runs: tuple[Answers, ...]
    seeds: int
    cost: TrainingCost | None
    student: bool
    unknown_trainings: tuple[str, ...]

    @property
    def accuracies(self) -> list[float]:
        """Return the accuracy of each seed over its questions, from 0 to 1."""
        return [float(one.right.mean()) for one in self.runs]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedSet:
    """Models that answered the same questions.

    Attributes:
        benchmark: name of the benchmark, or names if the runs call it differently.
        models: the models, the most accurate one first.
        macro: whether accuracies are compared as means over subjects.
    """

    benchmark: str
    models: tuple[ComparedModel, ...]
    macro: bool

    def chosen_pairs(self) -> list[tuple[ComparedModel, ComparedModel]]:
        """Return the pairs to show first; the more accurate model is the first.

        All pairs of up to four models. Of more, each student and each other model with the best of
        its kind, all pairs of up to four students, and the two best.
        """
        if len(self.models) <= _ALL_PAIRS:
            return _pairs(self.models)
        students = [model for model in self.models if model.student]
        others = [model for model in self.models if not model.student]
        chosen = [(others[0], model) for model in others[1:]]
        if students and others:
            best = (others[0], students[0])
            chosen.append(best if self.models.index(best[0]) == 0 else best[::-1])
        few = len(students) <= _ALL_PAIRS
        return chosen + (_pairs(students) if few else [(students[0], one) for one in students[1:]])

    def further_pairs(self) -> list[tuple[ComparedModel, ComparedModel]]:
        """Return all other pairs; the more accurate model is the first."""
        chosen = {frozenset(map(id, pair)) for pair in self.chosen_pairs()}
        return [pair for pair in _pairs(self.models) if frozenset(map(id, pair)) not in chosen]


_ALL_PAIRS = 4  # models


def _pairs(models: Sequence[ComparedModel]) -> list[tuple[ComparedModel, ComparedModel]]:
    return [(one, other) for index, one in enumerate(models) for other in models[index + 1 :]]


def compared_sets(lineage: Lineage, root: epath.PathLike) -> tuple[list[ComparedSet], list[str]]:
    """Return the sets of two or more models on the same questions.

    Also returns a sentence for each benchmark of a run that cannot be compared with other runs.
    """
    all_answers, problems = answers.read_all(lineage.runs)
    training_of = trainings_of(all_answers, lineage)
    sets = []
    for group in answers.on_same_questions(all_answers):
        by_model = _by_model(group, training_of, lineage)
        if len(by_model) > 1:
            models = [without_repeats(own, training_of, lineage)[0] for own in by_model]
            labelled = list(zip(_labels(models, lineage, root), models, strict=True))
            sets.append(compared_set(labelled, training_of, lineage))
    return sets, problems


def trainings_of(all_answers: Sequence[Answers], lineage: Lineage) -> dict[str, RunRecord | None]:
    """Return the training run behind each evaluation, by the path of the evaluation."""
    return {str(one.run.path): lineage.training_of(one.run) for one in all_answers}


def _by_model(
    group: Sequence[Answers], training_of: Mapping[str, RunRecord | None], lineage: Lineage
) -> list[list[Answers]]:
    """Return the answers of each model, those of seeds that differ in nothing else together."""
    alike: dict[str, list[Answers]] = {}
    for one in sorted(group, key=_most_questions_first):
        alike.setdefault(_alike(one, training_of[str(one.run.path)], lineage), []).append(one)
    return [part for own in alike.values() for part in _by_step(own, training_of, lineage)]


def _by_step(
    alike: Sequence[Answers], training_of: Mapping[str, RunRecord | None], lineage: Lineage
) -> list[list[Answers]]:
    """Return the answers of the newest step of each training, and the others by step.

    An extended run is another model than before, and neither a repeat nor a seed of it. The newest
    steps may differ, since seeds may stop early.
    """
    newest: dict[tuple[Any, ...], int] = {}
    known = [(one, training_of[str(one.run.path)]) for one in alike]
    seeds = [None if training is None else lineage.seeds(training) for _, training in known]
    for one, own in zip(alike, seeds, strict=True):
        if own is not None:
            newest[own] = max(newest.get(own, 0), one.run.result.get("step") or 0)
    current: list[Answers] = []
    earlier: dict[int, list[Answers]] = {}
    for one, own in zip(alike, seeds, strict=True):
        step = one.run.result.get("step") or 0
        is_earlier = own is not None and step < newest[own]
        (earlier.setdefault(step, []) if is_earlier else current).append(one)
    return [current, *earlier.values()]


def without_repeats(
    group: Sequence[Answers], training_of: Mapping[str, RunRecord | None], lineage: Lineage
) -> tuple[list[Answers], list[tuple[Answers, Answers]]]:
    """Return the answers without repeats, and each repeat with the one that is kept instead.

    Repeats are answers of the same model, or of trainings of the same recipe and seeds. Of equal
    ones, that with the most questions is kept.
    """
    identity_of = {
        path: (lineage.recipe(training), lineage.seeds(training))
        for one in group
        if (training := training_of[path := str(one.run.path)]) is not None
    }
    kept: list[Answers] = []
    repeats: list[tuple[Answers, Answers]] = []
    for one in sorted(group, key=_most_questions_first):
        same = (other for other in kept if _same_model(one, other, identity_of))
        if (first := next(same, None)) is None:
            kept.append(one)
        else:
            repeats.append((one, first))
    return kept, repeats


def _most_questions_first(one: Answers) -> int:
    return -len(one.keys)


def _same_model(one: Answers, other: Answers, identity_of: Mapping[str, tuple[Any, ...]]) -> bool:
    """Return whether two answers are of one model, or of trainings that differ in nothing."""
    digests = {entry.run.result.get("digest") for entry in (one, other)}
    trainings = {identity_of.get(str(entry.run.path)) for entry in (one, other)}
    return any(len(values) == 1 and None not in values for values in (digests, trainings))


def _alike(one: Answers, training: RunRecord | None, lineage: Lineage) -> str:
    """Return a text that is equal for evaluations of models that differ only in their seed."""
    settings = training_behind.settings_of(one.run, one.benchmark)
    if training is None:
        model = one.run.result.get("digest") or one.run.name
    else:
        place = place_in_run(one.run.result["model"])
        model = f"{place} of {lineage.recipe(training)}"
    return json.dumps([model, settings], sort_keys=True)


def compared_set(
    labelled: Sequence[tuple[str, Sequence[Answers]]],
    training_of: Mapping[str, RunRecord | None],
    lineage: Lineage,
) -> ComparedSet:
    """Return models on the same questions, each from its label and the answers of its seeds."""
    models = [_model(label, group, training_of, lineage) for label, group in labelled]
    every = [one for _, group in labelled for one in group]
    formats = {one.run.benchmark_format(one.benchmark) for one in every}
    macro = all(map(printed.is_mean_of_subjects, formats)) and len(set(every[0].subjects)) > 1
    best_first = sorted(models, key=lambda model: -sum(model.accuracies) / len(model.accuracies))
    names = dict.fromkeys(one.benchmark for one in every)
    return ComparedSet(benchmark=" / ".join(names), models=tuple(best_first), macro=macro)


def _model(
    label: str,
    all_answers: Sequence[Answers],
    training_of: Mapping[str, RunRecord | None],
    lineage: Lineage,
) -> ComparedModel:
    runs = sorted(all_answers, key=lambda one: _seed(training_of[str(one.run.path)]))
    found = [(one.run, training_of[str(one.run.path)]) for one in runs]
    unknown = [run for run, training in found if training is None]
    known = [(run, training) for run, training in found if training is not None]
    costs = [training_behind.cost(training, run.result.get("step")) for run, training in known]
    return ComparedModel(
        label=label,
        runs=tuple(runs),
        seeds=len(known),
        cost=training_behind.mean_cost(costs),
        student=any(lineage.is_student(training) for _, training in known),
        unknown_trainings=tuple(
            f"{run.name}: {lineage.why_not_found(run)}, so its seed, tokens, steps and FLOPs are "
            "unknown; report a folder that contains its training"
            for run in unknown
            if run.result.get("step")
        ),
    )


def _seed(training: RunRecord | None) -> int:
    """Return the seed of a training run, by which runs of two models are paired."""
    seed = training.config.get("seed", 0) if training else 0
    return seed if isinstance(seed, int) else 0


def _labels(
    groups: Sequence[Sequence[Answers]], lineage: Lineage, root: epath.PathLike
) -> list[str]:
    """Return a different label for each group: the shortest that no other group has."""
    options = [_possible_labels(group, lineage, root) for group in groups]
    levels = list(zip(*options, strict=True))
    return [
        next(
            (one for one, level in zip(own, levels, strict=True) if level.count(one) == 1), own[-1]
        )
        for own in options
    ]


def _possible_labels(
    group: Sequence[Answers], lineage: Lineage, root: epath.PathLike
) -> tuple[str, ...]:
    """Return labels of a group: what its models share, then with ever more that is its own.

    That is what its evaluations share, then their benchmarks too, as an evaluation may score the
    same questions in two ways, then the names of all models, then those of all evaluations.
    """
    models = [lineage.label(one.run, root) for one in group]
    evaluations = [one.run.name for one in group]
    label, evaluation = _common(models), _common(evaluations)
    return (
        label,
        f"{label} ({evaluation})",
        f"{label} ({evaluation}, {_common([one.benchmark for one in group])})",
        f"{label} ({', '.join(models)})",
        f"{label} ({', '.join(evaluations)})",
    )


def _common(names: Sequence[str]) -> str:
    """Return what names share at both ends, with * for the rest: runs/a*/student."""
    if len(set(names)) == 1:
        return names[0]
    start = _shared_start(names)
    rest = [name[len(start) :][::-1] for name in names]
    return f"{start}*{_shared_start(rest)[::-1]}"


def _shared_start(names: Sequence[str]) -> str:
    pairs = zip(min(names), max(names), strict=False)  # the two that share least
    return "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
