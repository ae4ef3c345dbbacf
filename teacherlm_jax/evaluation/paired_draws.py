"""The bootstrap over questions and seeds, which draws the questions once for all models.

Models that are compared in many pairs share the drawn questions, so a further pair costs next to
nothing.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64, Int
from scipy import special

ALPHA = 0.05
DRAWS = 10_000
_SEED = 20_231_019
_Z_ALPHA = special.ndtri(1 - ALPHA / 2)
_HELD = 2_000_000  # drawn questions in memory at once
_PATTERN_COST = 25  # time to count a pattern by that to draw a question, about

_Groups = Sequence[Int[np.ndarray, " _"]]
_Rng = np.random.Generator


def drawn_accuracies(
    tables: Sequence[Float64[np.ndarray, "_ questions"]],
    strata: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
) -> Float64[np.ndarray, "models draws"]:
    """Return the accuracy of each model in each draw, a mean over its drawn seeds.

    Questions are drawn with replacement (within strata, if there are any), the same ones for all
    models, and so are the seeds of each model that has several. A single question has no spread, so
    strata of one question are drawn from together, in proportion to the weights of their questions.
    Few seeds say little about the spread of all seeds, so the deviations of drawn seeds are widened
    by √(S/(S-1)) and by the ratio of the t quantile to the normal one. The random numbers are
    always the same.

    Args:
        tables: answers of each model, 1 or 0, of the shape [seeds, questions].
        strata: subject of each question, if the accuracies are means over subjects.
        draws: number of draws.
    """
    rng = np.random.default_rng(_SEED)
    weights, groups = weights_and_groups(tables[0].shape[1], strata)
    means = _means(np.concatenate(tables), weights, groups, draws, rng)
    ends = np.cumsum([len(table) for table in tables])
    return np.array([_of_drawn_seeds(own, rng) for own in np.split(means, ends[:-1], axis=1)])


def _means(
    answers: Float64[np.ndarray, "rows questions"],
    weights: Float64[np.ndarray, " questions"],
    groups: _Groups,
    draws: int,
    rng: _Rng,
) -> Float64[np.ndarray, "draws rows"]:
    """Return the accuracy of each row of answers on the questions of each draw."""
    means = np.zeros((draws, len(answers)))
    for members in groups:
        own, share = weights[members], float(weights[members].sum())
        # As many as questions of equal weight would have the variance of these: all, if all do.
        number = math.floor(share**2 / float(np.square(own).sum()) + 1e-6)
        # Questions with the same answers of all seeds are drawn together: a multinomial count.
        patterns, kind = np.unique(answers[:, members], axis=1, return_inverse=True)
        if patterns.shape[1] * _PATTERN_COST <= len(members):
            masses = np.bincount(kind.ravel(), own)
            drawn = rng.multinomial(number, masses / masses.sum(), size=draws)
            means += share * (drawn @ patterns.T) / number
        else:
            means += share * _sums(answers[:, members], own / share, number, draws, rng) / number
    return means


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
    values = answers.T.astype(np.float32)  # sums of so few ones are exact
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


def _of_drawn_seeds(
    means: Float64[np.ndarray, "draws seeds"], rng: _Rng
) -> Float64[np.ndarray, " draws"]:
    draws, seeds = means.shape
    if seeds == 1:
        return means[:, 0]
    deviation = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds - 1 / seeds
    return (means * (1 / seeds + _widening(seeds) * deviation)).sum(axis=1)


def _widening(seeds: int) -> float:
    quantile = special.stdtrit(seeds - 1, 1 - ALPHA / 2)
    return math.sqrt(seeds / (seeds - 1)) * quantile / _Z_ALPHA


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
