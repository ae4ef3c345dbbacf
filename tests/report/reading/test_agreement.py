"""Krippendorff's alpha, compared with the values of its published example."""

import numpy as np
import pytest

from teacherlm_jax.report.reading import agreement

# Four observers and twelve units, with missing values: Krippendorff (2011), section C.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = [[value for value in unit if value is not None] for unit in zip(*OBSERVERS, strict=True)]


@pytest.mark.parametrize(
    ("difference", "alpha"),
    [(agreement.nominal, 0.743), (agreement.ordinal, 0.815), (agreement.interval, 0.849)],
)
def test_alpha_of_the_published_example(difference, alpha):
    found = agreement.agreement(UNITS, difference)
    assert found.alpha == pytest.approx(alpha, abs=5e-4)
    assert found.units == 11, "a unit with one value says nothing"


def test_perfect_agreement_is_one_and_opposite_judgements_are_below_zero():
    assert agreement.agreement([[1, 1], [5, 5]]).alpha == 1
    assert agreement.agreement([[1, 5], [5, 1], [1, 5]]).alpha < 0


def test_alpha_is_unknown_without_two_readers_or_two_values():
    assert agreement.agreement([[1], [2]]) == (0, None, None)
    assert agreement.agreement([[3, 3], [3, 3]]) == (2, None, 1)


def test_independent_readers_agree_by_chance_only():
    units = np.random.default_rng(0).integers(1, 6, size=(2000, 3)).tolist()
    assert abs(agreement.agreement(units).alpha) < 0.05
