"""Bootstrap intervals with subjects as clusters."""

import numpy as np
import pytest

from teacherlm_jax.evaluation import cluster_bootstrap


def test_intervals_equal_those_of_draws_one_by_one():
    counts = [(9, 10), (40, 80), (3, 12), (7, 20), (30, 31)]
    random = np.random.default_rng(5)
    draws = [[counts[index] for index in random.integers(0, 5, 5)] for _ in range(20_000)]
    micro = [sum(c for c, _ in draw) / sum(n for _, n in draw) for draw in draws]
    macro = [sum(c / n for c, n in draw) / 5 for draw in draws]
    actual = cluster_bootstrap.micro_and_macro(counts)
    for interval, values in zip(actual, (micro, macro), strict=True):
        assert interval == pytest.approx(np.percentile(values, (2.5, 97.5)).tolist(), abs=0.02)


def test_intervals_are_the_same_in_every_call_and_wider_than_without_clusters():
    counts = [(9, 10), (1, 10)] * 20
    micro, macro = cluster_bootstrap.micro_and_macro(counts)
    assert (micro, macro) == cluster_bootstrap.micro_and_macro(counts)
    alone, same = cluster_bootstrap.micro_and_macro([(200, 400)])
    assert alone == same
    assert micro[1] - micro[0] > 2 * (alone[1] - alone[0])


def test_the_interval_of_one_subject_draws_its_questions():
    (low, high), _ = cluster_bootstrap.micro_and_macro([(30, 100)])
    half = 1.96 * (0.3 * 0.7 / 100) ** 0.5
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.015)


@pytest.mark.parametrize("right", [0, 7])
def test_none_right_or_all_right_gives_a_point(right):
    assert cluster_bootstrap.micro_and_macro([(right, 7)] * 3) == ((right / 7,) * 2,) * 2


def test_many_subjects_are_drawn_in_portions_of_bounded_size(monkeypatch):
    counts = [(n % 3, 2 + n % 5) for n in range(40)]
    whole = cluster_bootstrap.micro_and_macro(counts)
    monkeypatch.setattr(cluster_bootstrap, "_WEIGHTS", 999)
    for interval, expected in zip(cluster_bootstrap.micro_and_macro(counts), whole, strict=True):
        assert interval == pytest.approx(expected, abs=0.01)


def test_intervals_cover_the_mean_over_subjects_in_about_95_of_100_draws():
    """Subjects are drawn from a population whose mean accuracy is known."""
    random, held = np.random.default_rng(3), 0
    for _ in range(400):
        accuracies = random.beta(6, 4, 57)
        right = random.binomial(100, accuracies)
        low, high = cluster_bootstrap.micro_and_macro([(int(n), 100) for n in right])[1]
        held += low <= 0.6 <= high
    assert 0.92 <= held / 400 <= 0.98
