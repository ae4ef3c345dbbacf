"""Statistics of two models on the same questions, each with one or several seeds.

The answers of a model are a table of seeds by questions: right (1) or wrong (0). Two models are
compared on the differences per question, which is what makes small differences visible: two
intervals side by side ignore that both models find the same questions easy.

With one seed each, McNemar's exact test and a bootstrap over questions apply to these two trained
models. With several seeds, questions and seeds are both resampled (the crossed or pigeonhole
bootstrap: Owen 2007, doi 10.1214/07-AOAS122), so the interval is about the way of training.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64, Int, Shaped
from scipy import special

from teacherlm_jax.evaluation import paired_draws
from teacherlm_jax.evaluation.paired_draws import ALPHA, DRAWS

POWER = 0.8
_ROUNDING = 1e-9  # of floating-point numbers, in accuracies
_Z_ALPHA, _Z_POWER = special.ndtri(1 - ALPHA / 2), special.ndtri(POWER)

_First = Float64[np.ndarray, "seeds_1 questions"]
_Second = Float64[np.ndarray, "seeds_2 questions"]


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """Comparison of a first with a second model; differences are first minus second, from -1 to 1.

    Attributes:
        questions: number of questions.
        seeds: number of seeds of each model.
        difference: difference of the accuracies, means over the seeds.
        interval: 95% bootstrap interval of the difference.
        only_first: number of questions that only the first model answers right, a mean over pairs
            of seeds.
        only_second: the same of the second model.
        p_values: McNemar's exact p of the first seeds of both models, of their second seeds, and so
            on, for as many seeds as both have.
        more_questions: number of further questions that it takes to tell the models apart; 0 if
            they are told apart, None if no number of questions would do, see `_more_questions`.
        by_strata: whether the accuracies are means over strata, which p ignores.
    """

    questions: int
    seeds: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    only_first: float
    only_second: float
    p_values: tuple[float, ...]
    more_questions: int | None
    by_strata: bool = False

    @property
    def told_apart(self) -> bool:
        """Return whether the comparison finds a difference at the 5% level.

        0 has to be outside the interval. In two cases McNemar's p has to be below 0.05 as well: of
        two single runs, for which it is exact with any number of questions, and if the interval has
        no width because all questions and seeds agree. Of several pairs of seeds, every p has to.
        The p is not about means over strata: for them the interval decides alone, and one without a
        width decides nothing.
        """
        low, high = self.interval
        wide = high - low > _ROUNDING
        if self.by_strata:
            significant = wide
        else:
            significant = (wide and self.seeds != (1, 1)) or max(self.p_values) < ALPHA
        return significant and (low > _ROUNDING or high < -_ROUNDING)


def compare(
    first: Shaped[np.ndarray, "..."],
    second: Shaped[np.ndarray, "..."],
    strata: Sequence[Hashable] | None = None,
) -> PairedComparison:
    """Compare two models on the same questions.

    Args:
        first: answers of the first model, 1 or 0, of the shape [seeds, questions].
        second: answers of the second model to the same questions; its number of seeds may differ.
        strata: subject of each question, if the accuracies are means over subjects; questions are
            then resampled within subjects, those of subjects with one question together.

    Raises ValueError if a table is empty, or if the models answered different numbers of questions.
    """
    return compare_pairs((first, second), ((0, 1),), strata)[0]


def compare_pairs(
    models: Sequence[Shaped[np.ndarray, "..."]],
    pairs: Sequence[tuple[int, int]],
    strata: Sequence[Hashable] | None = None,
) -> list[PairedComparison]:
    """Compare pairs of models on the same questions, which are drawn once for all pairs.

    Args:
        models: answers of each model, as in `compare`.
        pairs: indices of the first and of the second model of each pair.
        strata: subject of each question, as in `compare`.

    Raises ValueError if a table is empty, or if the models answered different numbers of questions.
    """
    tables = [np.asarray(model, np.float64) for model in models]
    _require_tables(tables)
    weights, groups = paired_draws.weights_and_groups(tables[0].shape[1], strata)
    drawn = paired_draws.drawn_accuracies(tables, strata)
    compared = []
    for one, other in pairs:
        first, second = tables[one], tables[other]
        pair = _compared(first, second, weights, _interval(drawn[one], drawn[other]))
        pair = dataclasses.replace(pair, by_strata=strata is not None)
        if not pair.told_apart:
            needed = _more_questions(first, second, weights, groups)
            pair = dataclasses.replace(pair, more_questions=needed)
        compared.append(pair)
    return compared


def _compared(
    first: _First,
    second: _Second,
    weights: Float64[np.ndarray, " questions"],
    interval: tuple[float, float],
) -> PairedComparison:
    means = first.mean(axis=0), second.mean(axis=0)
    seeds = zip(first, second, strict=False)
    return PairedComparison(
        questions=first.shape[1],
        seeds=(len(first), len(second)),
        difference=float(weights @ (means[0] - means[1])),
        interval=interval,
        only_first=float((means[0] * (1 - means[1])).sum()),
        only_second=float((means[1] * (1 - means[0])).sum()),
        p_values=tuple(mcnemar(*_discordant(*pair)) for pair in seeds),
        more_questions=0,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test (McNemar 1947), 1.0 without discordant pairs.

    Under the null hypothesis each discordant question is as likely to favour one model as the
    other, so the count of one kind is binomial with probability 1/2, which is symmetric: both tails
    are twice the smaller one.
    """
    fewer, discordant = sorted((only_first, only_second))[0], only_first + only_second
    return min(1.0, 2 * float(special.bdtr(fewer, discordant, 0.5)))


def questions_needed(discordant: float, difference: float) -> int | None:
    """Return the number of questions for which McNemar's test has 80% power at the 5% level.

    n = (z_a √ψ + z_b √(ψ - δ²))² / δ² of Connor (1987, Biometrics 43:207-211), with the share of
    discordant questions ψ and the difference δ of the accuracies. None if the difference is 0.
    """
    if not difference:
        return None
    spread = math.sqrt(max(discordant - difference**2, 0.0))
    root = (_Z_ALPHA * math.sqrt(discordant) + _Z_POWER * spread) / abs(difference)
    return math.ceil(root**2)


def bootstrap_interval(
    first: _First,
    second: _Second,
    strata: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Return the 95% interval of the difference of the accuracies by the percentile bootstrap.

    `paired_draws` says how questions and seeds are drawn.
    """
    return _interval(*paired_draws.drawn_accuracies((first, second), strata, draws))


def _interval(
    first: Float64[np.ndarray, " draws"], second: Float64[np.ndarray, " draws"]
) -> tuple[float, float]:
    low, high = np.quantile(first - second, (ALPHA / 2, 1 - ALPHA / 2))
    return float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1))


def _more_questions(
    first: _First,
    second: _Second,
    weights: Float64[np.ndarray, " questions"],
    groups: Sequence[Int[np.ndarray, " _"]],
) -> int | None:
    """Return how many further questions tell the models apart, at least 1; None if none would.

    With one seed each this is `questions_needed`. With several, or means over subjects, the
    variance of the differences per question takes the place of the discordant share, and that of
    the seeds, which more questions do not reduce, is subtracted. Both assume that the difference
    stays what it is.
    """
    differences = first.mean(axis=0) - second.mean(axis=0)
    difference, questions = float(weights @ differences), len(weights)
    if len(first) == len(second) == len(groups) == 1:
        discordant = float(np.abs(differences).mean())
        needed = questions_needed(discordant, difference)
        return None if needed is None else max(1, needed - questions)
    if not difference:
        return None
    per_question = sum(
        float(np.square(weights[own]).sum()) * _variance(differences[own], weights[own])
        for own in groups
    )
    room = (difference / (_Z_ALPHA + _Z_POWER)) ** 2 - _seed_variance(first, second, weights)
    if room <= 0:
        return None
    return max(1, math.ceil(questions * per_question / room) - questions)


def _variance(
    values: Float64[np.ndarray, " questions"], weights: Float64[np.ndarray, " questions"]
) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average(np.square(values - mean), weights=weights))


def _seed_variance(
    first: _First, second: _Second, weights: Float64[np.ndarray, " questions"]
) -> float:
    """Return the variance that the spread between seeds gives to the difference."""
    tables = (table @ weights for table in (first, second) if len(table) > 1)
    return sum(float(accuracies.var(ddof=1)) / len(accuracies) for accuracies in tables)


def _discordant(
    first: Float64[np.ndarray, " questions"], second: Float64[np.ndarray, " questions"]
) -> tuple[int, int]:
    return int(np.sum(first > second)), int(np.sum(second > first))


def _require_tables(tables: Sequence[Float64[np.ndarray, "..."]]) -> None:
    first, *others = tables
    for table in others:
        if first.ndim != 2 or table.ndim != 2 or not first.size or not table.size:
            raise ValueError(
                f"answers of the shapes {first.shape} and {table.shape}; expected seeds by "
                "questions"
            )
        if first.shape[1] != table.shape[1]:
            raise ValueError(
                f"{first.shape[1]} and {table.shape[1]} questions; expected the same questions"
            )
