"""Variances of the accuracies of models: over questions, over seeds, and what is in both.

An answer that one seed gets right and another one wrong counts twice: it spreads the accuracy over
questions, and it spreads the accuracies of the seeds. The variance of the mean accuracy of a model
with crossed questions and seeds is therefore V_questions + V_seeds - V_answers, where the last is
that of such answers (Cornfield and Tukey 1956, Annals of Mathematical Statistics 27:907-949).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int
from scipy import special

from teacherlm_jax.evaluation.paired_draws import ALPHA, equal_questions

POWER = 0.8
Z_ALPHA, Z_POWER = float(special.ndtri(1 - ALPHA / 2)), float(special.ndtri(POWER))


@dataclasses.dataclass(frozen=True)
class SpreadOfPair:
    """Variances of the difference between the accuracies of two models, means over their seeds.

    Attributes:
        over_questions: variance over questions, with the seeds that there are.
        answers: the part of it that other seeds would not have, and that `over_seeds` contains.
        over_seeds: variance over seeds, with the questions that there are; 0 of two single runs.
        quantile: of Student's t for `over_seeds`, two-sided at 5%; the normal one of single runs.
    """

    over_questions: float
    answers: float
    over_seeds: float
    quantile: float

    @property
    def share_of_questions(self) -> float:
        """Return the share of `over_questions` that `over_seeds` does not contain, from 0 to 1."""
        if not self.over_questions:
            return 1.0
        return max(0.0, 1 - self.answers / self.over_questions)

    @property
    def only_seeds(self) -> float:
        """Return the part of `over_seeds` that further questions would not reduce."""
        return max(0.0, self.over_seeds - self.answers)

    def interval(self, difference: float, low: float, high: float) -> tuple[float, float]:
        """Return the 95% interval of a difference from its interval over questions alone.

        Both parts are combined by their squares (Zou and Donner 2008, Statistics in Medicine
        27:1693-1702). Seeds that happen to agree do not make it narrower than that over questions.
        """
        if not self.over_seeds:
            return low, high
        of_seeds = max(self.quantile**2 * self.over_seeds, Z_ALPHA**2 * self.answers)
        below, above = (
            math.sqrt(self.share_of_questions * (bound - difference) ** 2 + of_seeds)
            for bound in (low, high)
        )
        return difference - below, difference + above

    def questions_needed(self, difference: float, questions: int) -> int | None:
        """Return the number of questions that tell the models apart with about 80% power.

        The variances are those of `questions` questions, and the difference stays what it is. None
        if it is 0, or if the part of the variance that more questions do not reduce is too large.
        """
        of_questions, of_seeds = ((z + Z_POWER) ** 2 for z in (Z_ALPHA, self.quantile))
        room = difference**2 - of_seeds * self.only_seeds
        if not difference or room <= 0:
            return None
        shrinking = of_questions * self.share_of_questions * self.over_questions
        of_answers = of_seeds * (self.over_seeds - self.only_seeds)
        shrinking += max(of_answers, of_questions * self.answers)
        return math.ceil(questions * shrinking / room)


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """Variances of the accuracies of all models, computed once for all pairs.

    Attributes:
        seeds: number of seeds of each model.
        covariances: covariances over questions of the accuracies of two models, means over seeds.
        of_seed: variance of the accuracy of one seed of each model; NaN with a single seed.
        answers: variance over questions of one seed that other seeds would not have; NaN with a
            single seed.
    """

    seeds: tuple[int, ...]
    covariances: Float64[np.ndarray, "models models"]
    of_seed: Float64[np.ndarray, " models"]
    answers: Float64[np.ndarray, " models"]

    def of_pair(self, one: int, other: int) -> SpreadOfPair:
        """Return the variances of the difference between two models.

        A model with a single seed counts with the variances of the other one, which are the best
        known estimate: the trainings are assumed to differ about as much from seed to seed.
        """
        both = [one, other]
        (first, cross), (_, second) = self.covariances[np.ix_(both, both)].tolist()
        over_questions = max(0.0, first + second - 2 * cross)
        seeds = np.array([self.seeds[one], self.seeds[other]])
        if seeds.max() == 1:
            return SpreadOfPair(over_questions, 0.0, 0.0, Z_ALPHA)
        several = [model for model in both if self.seeds[model] > 1]
        known = both if len(several) == 2 else several * 2
        of_means = self.of_seed[known] / seeds
        return SpreadOfPair(
            over_questions,
            float((self.answers[known] / seeds).sum()),
            float(of_means.sum()),
            _quantile(of_means, seeds),
        )


def spread(
    tables: Sequence[Float64[np.ndarray, "_ questions"]],
    weights: Float64[np.ndarray, " questions"],
    groups: Sequence[Int[np.ndarray, " _"]],
) -> Spread:
    """Return the variances of all models.

    Args:
        tables: answers of each model, 1 or 0, of the shape [seeds, questions].
        weights: weight of each question in an accuracy.
        groups: indices of the questions that are drawn together.
    """
    seeds = tuple(map(len, tables))
    ends = np.cumsum(seeds)
    rows = np.concatenate(tables)
    accuracies = np.split(rows @ weights, ends[:-1])
    kernel = _covariances(rows, weights, groups)
    means = np.zeros((len(tables), len(rows)))
    of_seed, answers = np.full((2, len(tables)), np.nan)
    for model, (end, number) in enumerate(zip(ends, seeds, strict=True)):
        own = slice(end - number, end)
        means[model, own] = 1 / number
        if number > 1:
            block = kernel[own, own]
            answers[model] = max(0.0, (block.trace() - block.sum() / number) / (number - 1))
            of_seed[model] = accuracies[model].var(ddof=1)
            if answers[model] > 1e-15:  # accuracies are rounded to whole questions
                of_seed[model] += weights.min() ** 2 / 12
    return Spread(seeds, means @ kernel @ means.T, of_seed, answers)


def _covariances(
    rows: Float64[np.ndarray, "rows questions"],
    weights: Float64[np.ndarray, " questions"],
    groups: Sequence[Int[np.ndarray, " _"]],
) -> Float64[np.ndarray, "rows rows"]:
    """Return the covariances of the accuracies of rows if questions are drawn within groups.

    Within several groups they are unbiased, as the bootstrap of `paired_draws` is.
    """
    deviations = np.empty_like(rows)
    factors = np.empty_like(weights)
    for own in groups:
        shares = weights[own] / weights[own].sum()
        deviations[:, own] = rows[:, own] - (rows[:, own] @ shares)[:, None]
        factors[own] = shares * np.square(weights[own]).sum()
        number = equal_questions(weights[own])
        if len(groups) > 1 and number > 1:
            factors[own] *= number / (number - 1)
    return (deviations * factors) @ deviations.T


def _quantile(of_means: Float64[np.ndarray, "2"], seeds: Int[np.ndarray, "2"]) -> float:
    """Return the two-sided 5% quantile of Student's t for the variances of two means.

    Of two models with several seeds, the degrees of freedom are those of Welch (1947, Biometrika
    34:28-35); a single seed adds none.
    """
    if seeds.min() == 1:
        freedom = float(seeds.max() - 1)
    elif of_means.sum():
        freedom = float(of_means.sum() ** 2 / (of_means**2 / (seeds - 1)).sum())
    else:
        freedom = float(seeds.min() - 1)
    return float(special.stdtrit(freedom, 1 - ALPHA / 2))
