"""The bootstrap over questions, which are drawn once for all models.

Models that are compared in many pairs share the drawn questions, so a further pair costs next to
nothing.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64, Int

ALPHA = 0.05
DRAWS = 10_000
_SEED = 20_231_019
_HELD = 2_000_000  # drawn questions in memory at once
_PATTERN_COST = 25  # time to count a pattern by that to draw a question, about

_Groups = Sequence[Int[np.ndarray, " _"]]
_Rng = np.random.Generator


def drawn_accuracies(
    tables: Sequence[Float64[np.ndarray, "_ questions"]],
    strata: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
) -> Float64[np.ndarray, "models draws"]:
    """Return the accuracy of each model in each draw, a mean over its seeds.

    Questions are drawn with replacement (within strata, if there are any), the same ones for all
    models. From a stratum, one question less is drawn than it has: as many would spread its mean by
    (n - 1)/n too little, which matters if strata are small (Rao and Wu 1988, Journal of the
    American Statistical Association 83:231-241). A single question has no spread, so strata of one
    question are drawn from together, in proportion to the weights of their questions. The random
    numbers are always the same.

    Args:
        tables: answers of each model, 1 or 0, of the shape [seeds, questions].
        strata: subject of each question, if the accuracies are means over subjects.
        draws: number of draws.
    """
    rng = np.random.default_rng(_SEED)
    weights, groups = weights_and_groups(tables[0].shape[1], strata)
    sums = np.array([table.sum(axis=0) for table in tables])  # whole numbers, as `_sums` needs
    seeds = np.array([[len(table)] for table in tables])
    return _means(sums, weights, groups, draws, rng).T / seeds


def _means(
    answers: Float64[np.ndarray, "rows questions"],
    weights: Float64[np.ndarray, " questions"],
    groups: _Groups,
    draws: int,
    rng: _Rng,
) -> Float64[np.ndarray, "draws rows"]:
    """Return the weighted mean of each row on the questions of each draw."""
    means = np.zeros((draws, len(answers)))
    for members in groups:
        own, share = weights[members], float(weights[members].sum())
        number = equal_questions(own)
        if len(groups) > 1:
            number = max(1, number - 1)
        # Questions with the same answers of all models are drawn together: a multinomial count.
        patterns, kind = np.unique(answers[:, members], axis=1, return_inverse=True)
        if patterns.shape[1] * _PATTERN_COST <= len(members):
            masses = np.bincount(kind.ravel(), own)
            drawn = rng.multinomial(number, masses / masses.sum(), size=draws)
            means += share * (drawn @ patterns.T) / number
        else:
            means += share * _sums(answers[:, members], own / share, number, draws, rng) / number
    return means


def equal_questions(weights: Float64[np.ndarray, " _"]) -> int:
    """Return how many questions of equal weight have a mean with the variance of these."""
    return math.floor(float(weights.sum()) ** 2 / float(np.square(weights).sum()) + 1e-6)


def _sums(
    answers: Float64[np.ndarray, "rows questions"],
    chances: Float64[np.ndarray, " questions"],
    number: int,
    draws: int,
    rng: _Rng,
) -> Float64[np.ndarray, "draws rows"]:
    """Return the sums of each row over `number` questions, which are drawn one by one."""
    questions = answers.shape[1]
    equal = np.ptp(chances) < 1e-9 / questions
    limits = np.cumsum(chances)
    limits[-1] = 1.0
    portion = max(1, _HELD // number)
    values = answers.T.astype(np.float32)  # sums of so few whole numbers are exact
    sums = []
    for start in range(0, draws, portion):
        size = (min(portion, draws - start), number)
        if equal:
            drawn = rng.integers(0, questions, size)
        else:
            drawn = np.searchsorted(limits, rng.random(size), side="right")
        drawn += questions * np.arange(size[0])[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size[0] * questions)
        sums.append(counts.reshape(size[0], questions).astype(np.float32) @ values)
    return np.concatenate(sums).astype(np.float64)


def weights_and_groups(
    questions: int, strata: Sequence[Hashable] | None
) -> tuple[Float64[np.ndarray, " questions"], list[Int[np.ndarray, " _"]]]:
    """Return the weight of each question in an accuracy, and the indices that are drawn together.

    The groups are the strata. Strata of one question are pooled; if there is only one, it is pooled
    with the smallest of the others.
    """
    if strata is None:
        return np.full(questions, 1 / questions), [np.arange(questions)]
    members: dict[Hashable, list[int]] = {}
    for index, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(index)
    groups = [np.array(own) for own in members.values()]
    weights = np.zeros(questions)
    for own in groups:
        weights[own] = 1 / (len(own) * len(groups))
    groups.sort(key=len)
    alone = sum(len(own) == 1 for own in groups)
    pooled = max(2, alone) if alone else 0
    return weights, [np.concatenate(groups[:pooled]), *groups[pooled:]] if pooled else groups
