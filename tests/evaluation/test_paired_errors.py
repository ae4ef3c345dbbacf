"""Equally good models are told apart in about 5% of simulated comparisons."""

import numpy as np
import pytest

from benchmarks import paired
from teacherlm_jax.evaluation.paired import bootstrap_interval, compare

TRIALS, DRAWS = 400, 300  # an error rate of 5% is estimated with a standard error of 1.1%


@pytest.mark.parametrize("noise", paired.NOISES, ids=lambda noise: noise.name)
@pytest.mark.parametrize("seeds", [(3, 1), (5, 1), (2, 2), (3, 3), (5, 5)], ids=str)
def test_equally_good_trainings_are_told_apart_in_about_5_percent(noise, seeds):
    rate = paired.error_rate(noise, seeds, trials=TRIALS, draws=DRAWS)
    assert rate <= 0.08


@pytest.mark.parametrize("seeds", [(3, 1), (3, 3), (5, 5)], ids=str)
def test_intervals_are_not_much_wider_than_the_spread_of_seeds_demands(seeds):
    rate = paired.error_rate(paired.NOISES[0], seeds, trials=TRIALS, draws=DRAWS)
    assert rate >= 0.02


def test_equally_good_models_are_told_apart_in_about_5_percent_over_small_subjects():
    rng = np.random.default_rng(1)
    subjects = np.repeat(np.arange(57), 3)
    told_apart = 0
    for _ in range(TRIALS):
        right = rng.uniform(0.2, 0.8, len(subjects))  # of each question, for both models
        first, second = (np.array([rng.random(len(subjects)) < right], float) for _ in range(2))
        low, high = bootstrap_interval(first, second, subjects, DRAWS)
        told_apart += low > 0 or high < 0
    assert 0.02 <= told_apart / TRIALS <= 0.08


def test_seeds_that_happen_to_agree_do_not_make_the_interval_narrower():
    rng = np.random.default_rng(0)
    seed = rng.permutation(1000) < 596
    first = np.array([seed, rng.permutation(seed)], float)  # two seeds of the same accuracy
    second = np.array([rng.permutation(1000) < 575], float)
    low, high = bootstrap_interval(first, second)
    alone = bootstrap_interval(first[:1], second)
    assert high - low > 0.8 * (alone[1] - alone[0])
    assert not compare(first, second).told_apart


def test_a_difference_that_is_larger_than_the_spread_of_the_seeds_is_found():
    found = 0
    for trial in range(50):
        first, second = paired.simulated(trial, paired.NOISES[-1], (5, 5), advantage=0.15)
        found += compare(first, second).told_apart
    assert found >= 45
