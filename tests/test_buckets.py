"""Sizes shared by many texts."""

import pytest

from teacherlm_jax.buckets import power_of_two


@pytest.mark.parametrize(
    ("number", "smallest", "size"),
    [(1, 1, 1), (2, 1, 2), (3, 1, 4), (64, 1, 64), (65, 1, 128), (1, 16, 16), (17, 16, 32)],
)
def test_a_bucket_is_the_next_power_of_two_from_the_smallest_on(number, smallest, size):
    assert power_of_two(number, smallest) == size
