"""Win rates and mean ratings, with intervals that allow for several judgements on one sample.

Judgements on the same sample, by several readers or on several kinds, are not independent. So the
variance of a mean is that of the sums per sample (clusters), and a share has Wilson's interval for
the number of independent judgements that would give the same variance (Franco, Little, Louis and
Slud 2019, "Comparative study of confidence intervals for proportions in complex sample surveys").
With one judgement per sample and no ties, this is Wilson's interval itself.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from scipy import special

from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.evaluation.rank import wilson_interval
from teacherlm_jax.report.reading.rating_rows import TIE, ReaderJudgement

ALL = "all"  # in place of a kind

Clusters = Mapping[Hashable, Sequence[float]]  # values by sample


class WinRate(NamedTuple):
    """Comparisons of two teachers.

    Attributes:
        first: name of the teacher whose share of wins this is.
        second: name of the other one.
        kind: kind of the explanations, or ALL.
        wins: comparisons that the first one won.
        ties: comparisons without a winner.
        losses: comparisons that the second one won.
        samples: number of samples.
        share: share of wins of the first one; a tie counts half.
        interval: 95% interval of the share.
    """

    first: str
    second: str
    kind: str
    wins: int
    ties: int
    losses: int
    samples: int
    share: float
    interval: tuple[float, float]


class MeanRating(NamedTuple):
    """Mean rating of a teacher's explanations of a kind, or of all kinds (ALL).

    `interval` is the 95% interval by Student's t; None for a single sample, or if all ratings are
    equal, which say nothing about their spread.
    """

    teacher: str
    kind: str
    ratings: int
    samples: int
    mean: float
    interval: tuple[float, float] | None


def win_rates(judgements: Iterable[ReaderJudgement]) -> list[WinRate]:
    """Return the win rate of every pair of teachers, over all kinds and by kind."""
    compared = [judgement for judgement in judgements if judgement.preferred]
    pairs = sorted({tuple(sorted(judgement.teachers)) for judgement in compared})
    rates = []
    for pair in pairs:
        own = [judgement for judgement in compared if set(judgement.teachers) == set(pair)]
        kinds = [kind for kind in KINDS if any(judgement.kind == kind for judgement in own)]
        first, second = _ordered(pair, own)
        for kind in (ALL, *kinds) if len(kinds) > 1 else kinds:
            of_kind = [judgement for judgement in own if kind in (ALL, judgement.kind)]
            rates.append(_win_rate(first, second, kind, of_kind))
    return rates


def _ordered(pair: tuple[str, ...], judgements: Sequence[ReaderJudgement]) -> tuple[str, str]:
    """Return a pair of teachers, the one with more wins first."""
    first, second = pair
    won = [judgement.preferred for judgement in judgements]
    return (first, second) if won.count(first) >= won.count(second) else (second, first)


def _win_rate(first: str, second: str, kind: str, judgements: Sequence[ReaderJudgement]) -> WinRate:
    values: dict[Hashable, list[float]] = {}
    score = {first: 1.0, TIE: 0.5, second: 0.0}
    for judgement in judgements:
        values.setdefault(judgement.sample, []).append(score[judgement.preferred])
    won = [judgement.preferred for judgement in judgements]
    share = _mean(values)
    return WinRate(
        *(first, second, kind, won.count(first), won.count(TIE), won.count(second), len(values)),
        share,
        clustered_wilson(values),
    )


def mean_ratings(judgements: Iterable[ReaderJudgement]) -> list[MeanRating]:
    """Return the mean rating of every teacher, over all kinds and by kind."""
    values: dict[tuple[str, str], dict[Hashable, list[float]]] = {}
    for judgement in judgements:
        for teacher, mark in judgement.marks.items():
            for kind in (ALL, judgement.kind):
                of_kind = values.setdefault((teacher, kind), {})
                of_kind.setdefault(judgement.sample, []).append(float(mark))
    several = {teacher for teacher, _ in values if sum(key[0] == teacher for key in values) > 2}
    return [
        _mean_rating(teacher, kind, values[teacher, kind])
        for teacher in sorted({teacher for teacher, _ in values})
        for kind in (ALL, *KINDS)
        if (teacher, kind) in values and (kind != ALL or teacher in several)
    ]


def _mean_rating(teacher: str, kind: str, values: Clusters) -> MeanRating:
    count, samples, mean = sum(map(len, values.values())), len(values), _mean(values)
    interval, variance = None, _variance(values)
    if samples > 1 and variance:
        quantile = float(special.stdtrit(samples - 1, 0.975))
        half = quantile * math.sqrt(variance * samples / (samples - 1))
        interval = (max(1.0, mean - half), min(5.0, mean + half))
    return MeanRating(teacher, kind, count, samples, mean, interval)


def clustered_wilson(values: Clusters) -> tuple[float, float]:
    """Return the 95% interval of the mean of values from 0 to 1 by cluster; see the module."""
    count, share, variance = sum(map(len, values.values())), _mean(values), _variance(values)
    # Equal sums in all clusters, as when all are won, say nothing about the dependence within.
    effective = min(count, share * (1 - share) / variance) if variance else len(values)
    return wilson_interval(share * effective, effective)


def _mean(values: Clusters) -> float:
    return math.fsum(map(math.fsum, values.values())) / sum(map(len, values.values()))


def _variance(values: Clusters) -> float:
    """Return the variance of the mean, as the sum of the squared residuals of the clusters."""
    mean, count = _mean(values), sum(map(len, values.values()))
    residuals = (math.fsum(own) - len(own) * mean for own in values.values())
    squares = math.fsum(residual**2 for residual in residuals)
    return squares / count**2 if squares > 1e-12 else 0.0
