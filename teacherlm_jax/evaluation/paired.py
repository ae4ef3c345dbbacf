"""Statistics of two models on the same questions, each with one or several seeds.

The answers of a model are a table of seeds by questions: right (1) or wrong (0). Two models are
compared on the differences per question, which is what makes small differences visible: two
intervals side by side ignore that both models find the same questions easy.

With one seed each, McNemar's exact test and a bootstrap over questions apply to these two trained
models. With several seeds of one of them, the interval is about the way of training: its part from
the questions is that of the bootstrap, and its part from the seeds is Student's t.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64, Shaped
from scipy import special

from teacherlm_jax.evaluation import paired_draws, paired_spread
from teacherlm_jax.evaluation.paired_counts import RightAnswers
from teacherlm_jax.evaluation.paired_draws import ALPHA, DRAWS
from teacherlm_jax.evaluation.paired_spread import Z_ALPHA, Z_POWER, SpreadOfPair

_ROUNDING = 1e-9  # of floating-point numbers, in accuracies

_First = Float64[np.ndarray, "seeds_1 questions"]
_Second = Float64[np.ndarray, "seeds_2 questions"]


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """Comparison of a first with a second model; differences are first minus second, from -1 to 1.

    Attributes:
        questions: number of questions.
        seeds: number of seeds of each model.
        difference: difference of the accuracies, means over the seeds.
        interval: 95% interval of the difference, see `bootstrap_interval`.
        only_first: number of questions that only the first model answers right, a mean over pairs
            of seeds.
        only_second: the same of the second model.
        p_values: McNemar's exact p of the first seeds of both models, of their second seeds, and so
            on, for as many seeds as both have.
        more_questions: number of further questions that it takes to tell the models apart; 0 if
            they are told apart, None if no number of questions would do; see `questions_needed`.
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
    accuracies = [float((table @ weights).mean()) for table in tables]
    drawn = paired_draws.drawn_accuracies(tables, strata)
    spread, right = paired_spread.spread(tables, weights, groups), RightAnswers(tables)
    compared = []
    for one, other in pairs:
        difference, of_pair = accuracies[one] - accuracies[other], spread.of_pair(one, other)
        only_first, only_second = right.means(one, other)
        pair = PairedComparison(
            questions=len(weights),
            seeds=(len(tables[one]), len(tables[other])),
            difference=0.0 if abs(difference) < _ROUNDING else difference,
            interval=_interval(drawn[one] - drawn[other], difference, of_pair),
            only_first=only_first,
            only_second=only_second,
            p_values=tuple(mcnemar(*counts) for counts in right.by_seeds(one, other)),
            more_questions=0,
            by_strata=strata is not None,
        )
        needed = 0 if pair.told_apart else _more_questions(pair, of_pair)
        compared.append(dataclasses.replace(pair, more_questions=needed))
    return compared


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
    root = (Z_ALPHA * math.sqrt(discordant) + Z_POWER * spread) / abs(difference)
    return math.ceil(root**2)


def bootstrap_interval(
    first: _First,
    second: _Second,
    strata: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Return the 95% interval of the difference of the accuracies.

    `paired_draws` says how questions are drawn, and `paired_spread` how seeds widen the interval.
    """
    weights, groups = paired_draws.weights_and_groups(first.shape[1], strata)
    one, other = paired_draws.drawn_accuracies((first, second), strata, draws)
    difference = float((first @ weights).mean() - (second @ weights).mean())
    of_pair = paired_spread.spread((first, second), weights, groups).of_pair(0, 1)
    return _interval(one - other, difference, of_pair)


def _interval(
    drawn: Float64[np.ndarray, " draws"], difference: float, spread: SpreadOfPair
) -> tuple[float, float]:
    low, high = map(float, np.quantile(drawn, (ALPHA / 2, 1 - ALPHA / 2)))
    bounds = np.clip(spread.interval(difference, low, high), -1, 1)
    return float(bounds[0]), float(bounds[1])


def _more_questions(pair: PairedComparison, spread: SpreadOfPair) -> int | None:
    """Return how many further questions tell the models apart, at least 1; None if none would.

    With one seed each, McNemar's test counts; with several, or means over strata, the variances.
    """
    if pair.seeds == (1, 1) and not pair.by_strata:
        discordant = (pair.only_first + pair.only_second) / pair.questions
        needed = questions_needed(discordant, pair.difference)
    else:
        needed = spread.questions_needed(pair.difference, pair.questions)
    return None if needed is None else max(1, needed - pair.questions)


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
