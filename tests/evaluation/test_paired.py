"""Paired statistics: cases computed by hand, and coverage and power by simulation."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from teacherlm_jax.evaluation import paired, paired_draws, paired_spread
from teacherlm_jax.evaluation.paired import compare, mcnemar, questions_needed


def table(*rows):
    return np.array([[int(mark) for mark in row] for row in rows])


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 · 1/2
        (0, 5, 0.0625),  # 2 / 32
        (6, 0, 0.03125),  # 2 / 64
        (1, 7, 0.0703125),  # 2 · (1 + 8) / 256
        (4, 4, 1.0),
        (5, 15, 0.04138946533203125),  # 2 · 21,700 / 2²⁰
    ],
)
def test_mcnemar_is_the_exact_binomial_test_of_discordant_questions(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-12)
    assert mcnemar(only_second, only_first) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(
    ("discordant", "difference", "questions"),
    [
        # (1.95996 · √0.2 + 0.84162 · √(0.2 - 0.01))² / 0.01 = (0.876523 + 0.366855)² / 0.01
        (0.2, 0.1, 155),
        (0.2, -0.1, 155),
        (0.1, 0.1, 77),  # (0.619795 + 0.252486)² / 0.01 = 76.1
        (0.3, 0.02, 5885),
        (0.2, 0.0, None),
    ],
)
def test_the_number_of_questions_is_that_of_connor(discordant, difference, questions):
    assert questions_needed(discordant, difference) == questions


def test_a_comparison_of_two_single_runs_by_hand():
    first = table("1" * 20 + "1" * 15 + "0" * 5 + "0" * 10)
    second = table("1" * 20 + "0" * 15 + "1" * 5 + "0" * 10)
    actual = compare(first, second)
    assert (actual.questions, actual.seeds) == (50, (1, 1))
    assert (actual.only_first, actual.only_second) == (15, 5)
    assert actual.difference == pytest.approx(0.2)
    assert actual.p_values == pytest.approx((0.04138946533203125,))
    low, high = actual.interval
    # Its standard error is √((15 + 5)/50 - 0.2²) / √50 = 0.08485, so about ±0.1663.
    assert (low, high) == (pytest.approx(0.2 - 0.1663, abs=0.021), pytest.approx(0.36, abs=0.021))
    assert actual.told_apart and actual.more_questions == 0
    turned = compare(second, first)
    assert turned.difference == pytest.approx(-0.2)
    assert turned.interval == (pytest.approx(-high, abs=0.021), pytest.approx(-low, abs=0.021))


def test_models_that_are_not_told_apart_need_the_rest_of_the_questions():
    first = table("1" * 60 + "1" * 15 + "0" * 5 + "0" * 20)
    second = table("1" * 60 + "0" * 10 + "1" * 10 + "0" * 20)
    actual = compare(first, second)
    assert (actual.only_first, actual.only_second) == (10, 5)
    assert not actual.told_apart
    needed = questions_needed(0.15, 0.05)
    assert actual.more_questions == needed - 100 > 300


def test_equal_models_are_told_apart_by_no_number_of_questions():
    answers = table("1100")
    actual = compare(answers, answers)
    assert (actual.difference, actual.interval, actual.p_values) == (0.0, (0.0, 0.0), (1.0,))
    assert not actual.told_apart and actual.more_questions is None


def test_the_same_comparison_gives_the_same_interval():
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 2, (2, 1, 90))
    assert compare(first, second) == compare(first, second)


def test_pairing_narrows_the_interval_of_models_that_agree_on_most_questions():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, (1, 1000))
    second = first.copy()
    second[0, :40] = 1 - second[0, :40]
    paired_width = np.ptp(compare(first, second).interval)
    shuffled_width = np.ptp(compare(first, rng.permuted(second, axis=1)).interval)
    assert paired_width < shuffled_width / 3


def test_seeds_are_averaged_and_each_pair_has_its_p():
    first = table("11110000", "11100000", "11111100")
    second = table("11000000", "11100000")
    actual = compare(first, second)
    assert actual.seeds == (3, 2)
    assert actual.difference == pytest.approx((4 + 3 + 6) / 24 - (2 + 3) / 16)
    assert actual.p_values == (pytest.approx(mcnemar(2, 0)), 1.0)


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(1)
    base, other = rng.random(400) < 0.6, rng.random(400) < 0.5
    alike = compare(np.array([base] * 3), np.array([other] * 3))
    spread = np.array([base, base & (rng.random(400) < 0.8), base | (rng.random(400) < 0.3)])
    unlike = compare(spread, np.array([other] * 3))
    assert np.ptp(unlike.interval) > 1.5 * np.ptp(alike.interval)


def test_if_seeds_spread_more_than_the_difference_no_number_of_questions_is_enough():
    first = table("1" * 50 + "0" * 50, "1" * 80 + "0" * 20, "1" * 65 + "0" * 35)
    second = table("1" * 60 + "0" * 40, "1" * 64 + "0" * 36, "1" * 56 + "0" * 44)
    actual = compare(first, second)
    assert actual.difference == pytest.approx(0.05)
    assert not actual.told_apart and actual.more_questions is None


def tables_of_seeds(rng, *seeds, questions=400):
    """Return answers of models whose seeds differ by 6 points of accuracy."""
    return [
        (rng.random((number, questions)) < 0.5 + rng.normal(0, 0.06, (number, 1))).astype(float)
        for number in seeds
    ]


def spread_of(*tables):
    questions = tables[0].shape[1]
    weights, groups = paired_draws.weights_and_groups(questions, None)
    return paired_spread.spread(tables, weights, groups).of_pair(0, 1)


@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (5, 2)])
def test_the_part_of_the_seeds_is_welchs_t_test(seeds):
    tables = tables_of_seeds(np.random.default_rng(8), *seeds)
    actual = spread_of(*tables)
    accuracies = [own.mean(axis=1) for own in tables]
    expected = stats.ttest_ind(*accuracies, equal_var=False).confidence_interval()
    difference = tables[0].mean() - tables[1].mean()
    half = actual.quantile * actual.over_seeds**0.5
    assert (difference - half, difference + half) == pytest.approx(expected, rel=0.01)
    alone = dataclasses.replace(actual, answers=actual.over_questions)  # questions add nothing
    assert alone.interval(difference, -1, 1) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_single_seed_counts_with_the_variance_between_the_seeds_of_the_other_model(seeds):
    first, second = tables_of_seeds(np.random.default_rng(9), seeds, 1)
    actual, turned = spread_of(first, second), spread_of(second, first)
    variance = first.mean(axis=1).var(ddof=1)
    assert actual.over_seeds == pytest.approx(variance * (1 / seeds + 1), rel=0.01)
    assert actual.quantile == pytest.approx(stats.t.ppf(0.975, seeds - 1))
    assert dataclasses.astuple(turned) == pytest.approx(dataclasses.astuple(actual))


def test_answers_that_differ_between_seeds_are_not_counted_twice():
    rng = np.random.default_rng(10)
    # Each answer is a coin toss, so the variance of the difference is 2 · 0.25 / (4 · 2,000).
    actual = spread_of(*((rng.random((4, 2000)) < 0.5).astype(float) for _ in range(2)))
    assert actual.answers == pytest.approx(0.5 / 8000, rel=0.05)
    assert actual.over_questions == pytest.approx(actual.answers, rel=0.1)
    assert actual.share_of_questions < 0.1
    alike = spread_of(np.array([[1.0, 0, 1, 1]] * 3), np.array([[0.0, 0, 1, 0]] * 2))
    assert (alike.answers, alike.over_seeds, alike.share_of_questions) == (0, 0, 1)


@pytest.mark.parametrize(
    ("difference", "needed"),
    [
        # (1.95996 + 0.84162)² · 2e-4 + (2.77645 + 0.84162)² · 2e-4 = 0.0041878 by
        (0.065, 1398),  # 0.065² - (2.77645 + 0.84162)² · 3e-4 = 0.00029788
        (-0.1, 69),  # 0.1² - 0.0039271 = 0.0060729
        (0.06, None),  # 0.06² - 0.0039271 is negative
        (0.0, None),
    ],
)
def test_the_number_of_questions_follows_from_the_variances_that_more_of_them_reduce(
    difference, needed
):
    spread = paired_spread.SpreadOfPair(4e-4, 2e-4, 5e-4, quantile=2.77645)
    assert spread.questions_needed(difference, 100) == pytest.approx(needed, abs=10)
    if needed:
        shrunk = paired_spread.SpreadOfPair(
            4e-2 / needed, 2e-2 / needed, 3e-4 + 2e-2 / needed, quantile=2.77645
        )
        half = 1.95996 * (4e-2 / needed) ** 0.5
        low, high = shrunk.interval(difference, difference - half, difference + half)
        assert low > 0 or high < 0


def test_a_mean_over_subjects_weighs_subjects_equally_and_draws_within_them():
    subjects = ["small"] * 4 + ["large"] * 96
    first = table("1111" + "1" * 48 + "0" * 48)
    second = table("0000" + "1" * 48 + "0" * 48)
    actual = compare(first, second, strata=subjects)
    assert actual.difference == pytest.approx(0.5)  # 1 of the small subject, 0 of the large one
    assert actual.interval == (pytest.approx(0.5), pytest.approx(0.5))
    assert not actual.told_apart  # no spread within four questions is no proof
    assert compare(first, second).difference == pytest.approx(0.04)


def test_a_mean_over_subjects_is_told_apart_by_its_interval_whatever_the_pooled_p():
    subjects = ["small"] * 20 + ["large"] * 400
    first = table("1" * 19 + "0" + "1" * 200 + "0" * 10 + "1" * 10 + "0" * 180)
    second = table("0" * 10 + "1" * 10 + "1" * 200 + "1" * 10 + "0" * 10 + "0" * 180)
    actual = compare(first, second, strata=subjects)
    assert actual.p_values[0] > 0.05 and actual.interval[0] > 0
    assert actual.told_apart and actual.more_questions == 0
    assert not compare(first, second).told_apart


@pytest.mark.parametrize(
    ("first", "second", "told_apart"),
    [
        ((2, 1), (1, 1), False),  # p = 1
        ((2, 3), (2, 3), False),  # p = 0.25
        ((1, 5), (1, 5), False),  # p = 0.0625
        ((1, 6), (1, 6), True),  # p = 0.03125
        ((2, 6), (3, 6), True),
        ((1, 500), (1, 500), True),
        ((3, 500), (3, 500), True),
    ],
)
def test_without_a_spread_of_questions_and_seeds_mcnemars_test_decides(first, second, told_apart):
    actual = compare(np.ones(first), np.zeros(second))
    assert actual.interval == pytest.approx((1.0, 1.0)) and actual.told_apart is told_apart


def test_subjects_of_one_question_are_drawn_from_together():
    first, second = table("1" * 12 + "0" * 8), table("1" * 6 + "0" * 3 + "1" * 8 + "0" * 3)
    alone = compare(first, second, strata=range(20))
    assert alone.interval == compare(first, second).interval
    assert alone.interval[0] < 0 < alone.interval[1]


@pytest.mark.parametrize("others", [2, 3, 40])
def test_a_single_subject_of_one_question_is_drawn_from_with_the_smallest_other(others):
    subjects = ["single"] + ["small"] * others + ["large"] * 100
    first = table("1" + "0" * others + "0" * 100)
    second = table("0" * (101 + others))
    actual = compare(first, second, strata=subjects)
    low, high = actual.interval
    assert actual.difference == pytest.approx(1 / 3)
    assert low == 0 and high == pytest.approx(2 / 3) and not actual.told_apart


def test_an_interval_of_few_questions_and_seeds_stays_within_minus_one_and_one():
    first, second = table("11101101", "10001000"), table("10100101")
    low, high = compare(first, second).interval
    assert (low, high) == (-1.0, 1.0)


def test_all_pairs_of_models_are_compared_like_two_of_them():
    rng = np.random.default_rng(2)
    models = [rng.random((seeds, 600)) < right for seeds, right in ((1, 0.5), (3, 0.6), (2, 0.55))]
    pairs = [(1, 0), (1, 2), (2, 0)]
    for (one, other), actual in zip(pairs, paired.compare_pairs(models, pairs), strict=True):
        alone = compare(models[one], models[other])
        assert actual.interval == pytest.approx(alone.interval, abs=0.01)  # other random numbers
        assert (actual.difference, actual.p_values) == (alone.difference, alone.p_values)
        assert (actual.seeds, actual.only_first) == (alone.seeds, alone.only_first)


def test_the_questions_of_subjects_are_drawn_once_for_all_pairs():
    rng = np.random.default_rng(4)
    models = rng.random((12, 2, 90)) < 0.5
    subjects = [f"subject {number % 3}" for number in range(90)]
    (both,) = paired.compare_pairs(list(models), [(3, 8)], subjects)
    assert both.by_strata
    alone = compare(models[3], models[8], subjects)
    assert both.interval == pytest.approx(alone.interval, abs=0.03)
    assert both.difference == alone.difference


@pytest.mark.parametrize("strata", [None, ["small"] + ["other"] * 2 + ["large"] * 297])
def test_questions_drawn_one_by_one_spread_as_those_counted_by_pattern(monkeypatch, strata):
    rng = np.random.default_rng(7)
    tables = [(rng.random((1, 300)) < right).astype(float) for right in (0.5, 0.7)]
    spread = []
    for cost in (0, 1_000_000):  # always by pattern, never by pattern
        monkeypatch.setattr(paired_draws, "_PATTERN_COST", cost)
        drawn = paired_draws.drawn_accuracies(tables, strata)
        spread.append((*drawn.mean(axis=1), *drawn.std(axis=1), np.corrcoef(*drawn)[0, 1]))
    by_pattern, one_by_one = spread
    assert one_by_one == pytest.approx(by_pattern, abs=0.04)
    assert one_by_one[:2] == pytest.approx(by_pattern[:2], abs=0.005)
    assert one_by_one[2:4] == pytest.approx(by_pattern[2:4], rel=0.04)


def test_tables_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="3 and 2 questions; expected the same"):
        compare(table("111"), table("11"))
    with pytest.raises(ValueError, match="expected seeds by questions"):
        compare(np.zeros(3), table("111"))


def simulated(rng, seeds, questions, of_seeds):
    """Return answers of two models whose accuracies are 0.7 and 0.6 over questions and seeds.

    Both find the same questions hard; `of_seeds` is the standard deviation between seeds.
    """
    hard = rng.uniform(-0.25, 0.25, questions)
    shifts = rng.normal(0, of_seeds, (2, seeds, 1)) if of_seeds else np.zeros((2, seeds, 1))
    chances = np.array([0.7, 0.6])[:, None, None] + hard + shifts
    return (rng.random((2, seeds, questions)) < chances).astype(int)


def coverage(seeds, of_seeds, interval, trials=400, questions=250):
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        low, high = interval(*simulated(rng, seeds, questions, of_seeds))
        hits += low <= 0.1 <= high
    return hits / trials


def bootstrap(first, second):
    return paired.bootstrap_interval(first.astype(float), second.astype(float), draws=1000)


def test_the_interval_of_single_runs_covers_the_true_difference_95_times_in_100():
    assert 0.92 <= coverage(1, 0.0, bootstrap) <= 0.98


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_several_seeds_covers_the_difference_of_the_ways_of_training(seeds):
    assert coverage(seeds, 0.06, bootstrap) >= 0.93


def test_an_interval_over_questions_alone_would_miss_it_when_seeds_differ():
    def of_questions(first, second):
        return bootstrap(first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True))

    assert coverage(3, 0.06, of_questions) < 0.85


def test_the_stated_number_of_questions_gives_about_80_percent_power():
    rng, (only_first, only_second) = np.random.default_rng(6), (0.15, 0.05)
    questions = questions_needed(only_first + only_second, only_first - only_second)
    both = 1 - only_first - only_second
    counts = rng.multinomial(questions, (only_first, only_second, both), size=1000)
    power = np.mean([mcnemar(int(b), int(c)) < 0.05 for b, c, _ in counts])
    assert 0.74 <= power <= 0.84  # the exact test is a little weaker than the formula
