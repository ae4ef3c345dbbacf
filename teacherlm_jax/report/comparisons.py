"""Comparisons of evaluated models: paired differences of their answers to the same questions."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.evaluation import paired
from teacherlm_jax.evaluation.paired import PairedComparison
from teacherlm_jax.report import answers
from teacherlm_jax.report.compared_models import ComparedModel, ComparedSet, compared_sets
from teacherlm_jax.report.lineage import Lineage

MINUS = "\N{MINUS SIGN}"


@dataclasses.dataclass(frozen=True)
class PairOfModels:
    """Two models and their comparison.

    Attributes:
        benchmark: name of the questions.
        first: the first model.
        second: the model whose accuracy is subtracted.
        result: the comparison of their answers.
        further: whether the pair is shown after the chosen ones of its set.
    """

    benchmark: str
    first: ComparedModel
    second: ComparedModel
    result: PairedComparison
    further: bool = False

    @property
    def name(self) -> str:
        """Return both labels with a minus sign between them."""
        return f"{self.first.label} {MINUS} {self.second.label}"


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """All comparisons of a report.

    Attributes:
        sets: the sets of models on the same questions, with all pairs of each, the chosen ones
            first.
        problems: a sentence for each benchmark of a run that cannot be compared.
    """

    sets: tuple[tuple[ComparedSet, tuple[PairOfModels, ...]], ...]
    problems: tuple[str, ...]

    def figures(self) -> list[dict[str, Any]]:
        """Return every comparison as a JSON object."""
        return [_figures(pair) for _, pairs in self.sets for pair in pairs]

    def unknown_trainings(self) -> list[str]:
        """Return a sentence for each compared checkpoint whose training is not known."""
        models = [model for own, _ in self.sets for model in own.models]
        return list(dict.fromkeys(line for model in models for line in model.unknown_trainings))


def compare(lineage: Lineage, root: epath.PathLike) -> Comparisons:
    """Compare the models of all finished evaluations on the same questions."""
    sets, problems = compared_sets(lineage, root)
    return Comparisons(tuple((own, _compared(own)) for own in sets), tuple(problems))


def _compared(own: ComparedSet) -> tuple[PairOfModels, ...]:
    chosen, further = own.chosen_pairs(), own.further_pairs()
    shown_first = {(id(first), id(second)) for first, second in chosen}
    return tuple(
        dataclasses.replace(pair, further=(id(pair.first), id(pair.second)) not in shown_first)
        for pair in compare_pairs(own, [*chosen, *further])
    )


def compare_pairs(
    own: ComparedSet, pairs: Sequence[tuple[ComparedModel, ComparedModel]]
) -> list[PairOfModels]:
    """Compare pairs of models of a set on the questions that both models of a pair answered.

    A pair without such questions is left out. Pairs on the same questions share their bootstrap.
    """
    groups = collections.defaultdict(list)
    for at, (first, second) in enumerate(pairs):
        groups[frozenset(id(one.keys) for one in (*first.runs, *second.runs))].append(at)
    found: dict[int, PairOfModels] = {}
    for places in groups.values():
        models = list({id(model): model for at in places for model in pairs[at]}.values())
        tables, subjects = answers.shared([one for model in models for one in model.runs])
        if not subjects:
            continue
        ends = np.cumsum([len(model.runs) for model in models])
        number = {id(model): at for at, model in enumerate(models)}
        results = paired.compare_pairs(
            np.split(np.array(tables), ends[:-1]),
            [(number[id(pairs[at][0])], number[id(pairs[at][1])]) for at in places],
            subjects if own.macro else None,
        )
        for at, result in zip(places, results, strict=True):
            found[at] = PairOfModels(own.benchmark, *pairs[at], result)
    return [found[at] for at in sorted(found)]


def _figures(pair: PairOfModels) -> dict[str, Any]:
    return {
        "benchmark": pair.benchmark,
        "first": [one.run.name for one in pair.first.runs],
        "second": [one.run.name for one in pair.second.runs],
        "first_benchmark": [one.benchmark for one in pair.first.runs],
        "second_benchmark": [one.benchmark for one in pair.second.runs],
        **dataclasses.asdict(pair.result),
    }
