"""Agreement between readers: Krippendorff's alpha.

Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011). Unlike
Cohen's kappa, it allows any number of readers and missing judgements. 1 is perfect agreement, 0
that of chance.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from teacherlm_jax.report.reading.rating_rows import TIE, ReaderJudgement

Difference = Callable[[float, float, Mapping[float, float]], float]


class Agreement(NamedTuple):
    """Agreement on the units that at least two readers judged.

    `alpha` is None if there is no such unit, or if all judgements are equal. `equal` is the share
    of pairs of judgements on a unit that are equal.
    """

    units: int
    alpha: float | None
    equal: float | None


def nominal(first: float, second: float, counts: Mapping[float, float]) -> float:
    """Return the difference of values without order."""
    return float(first != second)


def interval(first: float, second: float, counts: Mapping[float, float]) -> float:
    """Return the difference of numbers, whose distances have a meaning."""
    return (first - second) ** 2


def ordinal(first: float, second: float, counts: Mapping[float, float]) -> float:
    """Return the difference of ranks: by the number of judgements between them."""
    low, high = sorted((first, second))
    between = sum(count for value, count in counts.items() if low <= value <= high)
    return (between - (counts[low] + counts[high]) / 2) ** 2


def agreement(units: Iterable[Sequence[float]], difference: Difference = ordinal) -> Agreement:
    """Return the agreement on units, each given as the values of its readers."""
    judged = [values for values in units if len(values) > 1]
    together: defaultdict[tuple[float, float], float] = defaultdict(float)
    same = pairs = 0
    for values in judged:
        for first, second in itertools.permutations(values, 2):
            together[first, second] += 1 / (len(values) - 1)
            same, pairs = same + (first == second), pairs + 1
    counts: defaultdict[float, float] = defaultdict(float)
    for (value, _), weight in together.items():
        counts[value] += weight
    total = sum(counts.values())
    observed = sum(
        weight * difference(first, second, counts) for (first, second), weight in together.items()
    )
    expected = sum(
        counts[first] * counts[second] * difference(first, second, counts)
        for first, second in itertools.product(counts, repeat=2)
    )
    alpha = 1 - (total - 1) * observed / expected if expected else None
    return Agreement(len(judged), alpha, same / pairs if pairs else None)


def on_preferences(judgements: Iterable[ReaderJudgement]) -> Agreement:
    """Return the agreement on which teacher is better, with a tie between them."""
    units: dict[Hashable, list[float]] = {}
    for judgement in judgements:
        if judgement.preferred:
            rank = 0.0
            if judgement.preferred != TIE:
                rank = -1.0 if judgement.preferred == min(judgement.teachers) else 1.0
            units.setdefault(judgement.question, []).append(rank)
    return agreement(units.values())


def on_ratings(judgements: Iterable[ReaderJudgement]) -> Agreement:
    """Return the agreement on the ratings of explanations."""
    units: dict[Hashable, list[float]] = {}
    for judgement in judgements:
        for teacher, mark in judgement.marks.items():
            units.setdefault((*judgement.question, teacher), []).append(float(mark))
    return agreement(units.values())
