"""Win rates and mean ratings with intervals."""

import numpy as np
import pytest
from scipy import stats

from teacherlm_jax.report.reading import win_rates
from teacherlm_jax.report.reading.rating_rows import TIE, ReaderJudgement


def judgement(sample, preferred="", marks=None, kind="cot", reader="anna", pair=("one", "two")):
    return ReaderJudgement(
        reader=reader,
        sample=("creak", str(sample)),
        kind=kind,
        teachers=pair,
        marks=marks or {},
        preferred=preferred,
        seconds=0,
    )


@pytest.mark.parametrize(("wins", "total"), [(0, 7), (3, 8), (60, 100), (9, 9), (431, 500)])
def test_the_interval_of_single_judgements_is_that_of_wilson(wins, total):
    values = {number: [float(number < wins)] for number in range(total)}
    expected = stats.binomtest(wins, total).proportion_ci(method="wilson")
    assert win_rates.clustered_wilson(values) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_a_judgement_do_not_narrow_the_interval(copies):
    once = {number: [float(number < 12)] for number in range(40)}
    again = {number: value * copies for number, value in once.items()}
    assert win_rates.clustered_wilson(again) == pytest.approx(win_rates.clustered_wilson(once))
    all_won = {number: [1.0] * copies for number in range(9)}
    expected = win_rates.clustered_wilson({number: [1.0] for number in range(9)})
    assert win_rates.clustered_wilson(all_won) == pytest.approx(expected)


def test_the_interval_agrees_with_a_bootstrap_over_samples():
    draw = np.random.default_rng(0)
    leaning = draw.beta(3, 2, size=300)
    values = {at: list(draw.binomial(1, share, size=3) * 1.0) for at, share in enumerate(leaning)}
    sums = np.array([sum(own) for own in values.values()]) / 3
    means = [draw.choice(sums, sums.size).mean() for _ in range(4000)]
    expected = np.percentile(means, [2.5, 97.5])
    assert win_rates.clustered_wilson(values) == pytest.approx(expected, abs=0.004)
    independent = {(at, n): [v] for at, own in values.items() for n, v in enumerate(own)}
    low, high = win_rates.clustered_wilson(independent)
    assert high - low < 0.9 * (expected[1] - expected[0]), "a plain interval would be too narrow"


def test_a_tie_counts_half_and_the_winner_comes_first():
    given = [judgement(1, "two"), judgement(2, TIE), judgement(3, "two"), judgement(4, "one")]
    (rate,) = win_rates.win_rates([*given, judgement(5, marks={"one": 3})])
    assert rate[:7] == ("two", "one", "cot", 2, 1, 1, 4)
    assert rate.share == (2 + 0.5) / 4
    assert rate.interval[0] < rate.share < rate.interval[1]


def test_kinds_are_shown_apart_and_together():
    given = [judgement(1, "one"), judgement(1, "two", kind="mistake"), judgement(2, "one")]
    rates = win_rates.win_rates(given)
    assert [(rate.kind, rate.wins, rate.losses, rate.samples) for rate in rates] == [
        ("all", 2, 1, 2),
        ("cot", 2, 0, 2),
        ("mistake", 0, 1, 1),
    ]


def test_pairs_on_several_pages_are_one_pair_whatever_their_sides():
    given = [judgement(1, "one"), judgement(2, "one", pair=("two", "one"))]
    (rate,) = win_rates.win_rates(given)
    assert (rate.wins, rate.losses) == (2, 0)


def test_mean_ratings_have_intervals_clustered_by_sample():
    marks = [1, 2, 3, 4, 5, 3]
    given = [judgement(n, marks={"one": mark}) for n, mark in enumerate(marks)]
    again = [judgement(n, marks={"one": mark}, reader="ben") for n, mark in enumerate(marks)]
    (once,), (twice,) = win_rates.mean_ratings(given), win_rates.mean_ratings(given + again)
    assert (once.mean, once.ratings, twice.ratings) == (3, 6, 12)
    half = 2.570582 * np.std(marks, ddof=1) / np.sqrt(6)
    assert once.interval == pytest.approx((3 - half, 3 + half))
    assert twice.interval == pytest.approx(once.interval)
    (alone,) = win_rates.mean_ratings(given[:1])
    assert alone.interval is None


def test_a_mean_of_equal_ratings_has_no_interval():
    (mean,) = win_rates.mean_ratings([judgement(n, marks={"one": 4}) for n in range(3)])
    assert (mean.mean, mean.samples, mean.interval) == (4, 3, None)


def test_the_interval_of_a_mean_rating_covers_it_95_times_in_100_with_few_samples():
    draw, hits = np.random.default_rng(2), 0
    for marks in draw.integers(1, 6, (400, 5)):
        (mean,) = win_rates.mean_ratings(
            [judgement(n, marks={"one": int(mark)}) for n, mark in enumerate(marks)]
        )
        hits += mean.interval is not None and mean.interval[0] <= 3 <= mean.interval[1]
    assert hits / 400 >= 0.92


def test_mean_ratings_of_several_kinds_have_a_line_for_all():
    given = [judgement(1, marks={"one": 5}), judgement(1, marks={"one": 2}, kind="mistake")]
    assert [(own.kind, own.mean) for own in win_rates.mean_ratings(given)] == [
        ("all", 3.5),
        ("cot", 5),
        ("mistake", 2),
    ]
