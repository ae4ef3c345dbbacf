"""Buckets: few sizes, each at least as large as its content."""

import pytest

from teacherlm_jax.models import buckets


@pytest.mark.parametrize(
    ("number", "smallest", "size"),
    [(1, 1, 1), (2, 1, 2), (3, 1, 4), (64, 1, 64), (65, 1, 128), (1, 16, 16), (17, 16, 32)],
)
def test_power_of_two_rounds_up_to_at_least_the_smallest_size(number, smallest, size):
    assert buckets.power_of_two(number, smallest) == size


def test_the_default_smallest_size_is_one():
    assert buckets.power_of_two(1) == 1


@pytest.mark.parametrize(
    ("number", "size"),
    [(1, 32), (32, 32), (33, 48), (48, 48), (49, 64), (65, 96), (97, 128), (1500, 1536)],
)
def test_half_steps_are_powers_of_two_and_one_and_a_half_times_them(number, size):
    assert buckets.half_step(number, smallest=32) == size
