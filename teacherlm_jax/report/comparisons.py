"""Comparisons of evaluated models: paired differences of their answers to the same questions."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from teacherlm_jax.evaluation import paired
from teacherlm_jax.evaluation.paired import PairedComparison
from teacherlm_jax.report import answers
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.compared_models import ComparedModel, ComparedSet, compared_sets

MINUS = "\N{MINUS SIGN}"


@dataclasses.dataclass(frozen=True)
class PairOfModels:
    """Two models and their comparison; `benchmark` names the questions."""

    benchmark: str
    first: ComparedModel
    second: ComparedModel
    result: PairedComparison

    @property
    def name(self) -> str:
        """Return both labels with a minus sign between them."""
        return f"{self.first.label} {MINUS} {self.second.label}"


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """All comparisons of a report.

    Attributes:
        sets: the sets of models on the same questions, with the compared pairs of each.
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


def compare(runs: Sequence[RunRecord], root: epath.PathLike) -> Comparisons:
    """Compare the models of all finished evaluations on the same questions."""
    sets, problems = compared_sets(runs, root)
    return Comparisons(
        tuple((own, tuple(_compared(own))) for own in sets),
        tuple(problems),
    )


def _compared(own: ComparedSet) -> list[PairOfModels]:
    pairs = []
    for first, second in own.pairs():
        entries = (*first.runs, *second.runs)
        tables, subjects = answers.shared(entries)
        if not subjects:
            continue
        result = paired.compare(
            np.array(tables[: len(first.runs)]),
            np.array(tables[len(first.runs) :]),
            subjects if own.macro else None,
        )
        pairs.append(PairOfModels(own.benchmark, first, second, result))
    return pairs


def _figures(pair: PairOfModels) -> dict[str, Any]:
    return {
        "benchmark": pair.benchmark,
        "first": [one.run.name for one in pair.first.runs],
        "second": [one.run.name for one in pair.second.runs],
        **dataclasses.asdict(pair.result),
    }
