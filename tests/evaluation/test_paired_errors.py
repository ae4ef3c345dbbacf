"""Equally good models are told apart in about 5% of simulated comparisons."""

import pytest

from benchmarks import paired
from teacherlm_jax.evaluation.paired import compare

TRIALS, DRAWS = 400, 300  # an error rate of 5% is estimated with a standard error of 1.1%


@pytest.mark.parametrize("noise", paired.NOISES, ids=lambda noise: noise.name)
@pytest.mark.parametrize("seeds", [(3, 1), (5, 1), (2, 2), (3, 3), (5, 5)], ids=str)
def test_equally_good_trainings_are_told_apart_in_about_5_percent(noise, seeds):
    rate = paired.error_rate(noise, seeds, trials=TRIALS, draws=DRAWS)
    assert 0.01 <= rate <= 0.08  # Welch's test of two and two seeds is below 5%


def test_a_difference_that_is_larger_than_the_spread_of_the_seeds_is_found():
    found = 0
    for trial in range(50):
        first, second = paired.simulated(trial, paired.NOISES[-1], (5, 5), advantage=0.15)
        found += compare(first, second).told_apart
    assert found >= 45
