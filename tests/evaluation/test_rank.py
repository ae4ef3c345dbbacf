"""Predictions and accuracy, compared with published or independently computed values."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.evaluation import cluster_bootstrap, rank


def _prediction(gold: int, scores: tuple[float, ...], subject: str = "") -> rank.Prediction:
    return rank.Prediction(id="q", subject=subject, gold=gold, scores=scores)


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ((-1.0, -2.0), 0),
        ((-2.0, -1.0), 1),
        ((-1.0, -1.0, -3.0), 0),
        ((-3.0, -1.0, -1.0), 1),
        ((-math.inf, -5.0), 1),
        ((-math.inf, -math.inf), 0),
        ((0.0, -0.0), 0),
    ],
)
def test_the_best_score_wins_and_the_first_one_wins_ties(scores, winner):
    assert rank.best(scores) == winner


def test_a_nan_score_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank.best((-1.0, math.nan))


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, table I, method 3).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_values(correct, total, low, high):
    assert rank.wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0), (1, 0)])
def test_a_wilson_interval_needs_a_share_of_something(correct, total):
    with pytest.raises(ValueError, match=f"{correct} of {total} is not a share"):
        rank.wilson_interval(correct, total)


def test_wilson_intervals_of_none_and_of_all_end_exactly_at_zero_and_one():
    for total in range(1, 500):
        assert rank.wilson_interval(0, total)[0] == 0
        assert rank.wilson_interval(total, total)[1] == 1


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_share_and_is_symmetric(case):
    correct, total = case
    low, high = rank.wilson_interval(correct, total)
    mirrored = rank.wilson_interval(total - correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-12)


def test_summary_separates_micro_and_macro_accuracy():
    right, wrong = (-1.0, -2.0), (-2.0, -1.0)
    predictions = [
        _prediction(0, right, "algebra"),
        _prediction(0, right, "algebra"),
        _prediction(0, right, "algebra"),
        _prediction(1, right, "law"),
        _prediction(1, wrong, "law"),
        _prediction(0, wrong, "law"),
    ]
    summary = rank.summarize(predictions)
    assert summary["rows"] == 6
    assert summary["accuracy"] == pytest.approx(4 / 6)
    assert summary["by_subject"] == {
        "algebra": {"rows": 3, "accuracy": 1.0},
        "law": {"rows": 3, "accuracy": pytest.approx(1 / 3)},
    }
    assert summary["macro_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    assert summary["majority"] == pytest.approx(4 / 6)
    assert summary["interval"] == list(rank.wilson_interval(4, 6))
    assert summary["macro_interval"] == list(
        rank.macro_interval(summary["macro_accuracy"], summary["by_subject"])
    )
    micro, macro = cluster_bootstrap.micro_and_macro([(3, 3), (1, 3)])
    assert summary["bootstrap_interval"] == list(micro)
    assert summary["macro_bootstrap_interval"] == list(macro)


def test_the_interval_of_a_mean_over_subjects_covers_it_in_95_of_100_draws():
    """The draws have known accuracies and sizes, so the true mean is known."""
    draw = np.random.default_rng(3)
    accuracies, rows = draw.uniform(0.2, 0.9, 20), draw.integers(50, 150, 20)
    held = 0
    for _ in range(2000):
        actual = draw.binomial(rows, accuracies) / rows
        subjects = {
            str(index): {"rows": int(n), "accuracy": float(share)}
            for index, (n, share) in enumerate(zip(rows, actual, strict=True))
        }
        low, high = rank.macro_interval(float(actual.mean()), subjects)
        held += low <= accuracies.mean() <= high
    assert 0.935 <= held / 2000 <= 0.965  # three standard errors of 2,000 draws


def test_the_interval_of_a_mean_is_the_one_computed_by_hand():
    """With one more right and one more wrong answer, the shares are 7/10 and 10/20."""
    subjects = {"algebra": {"rows": 8, "accuracy": 0.75}, "law": {"rows": 18, "accuracy": 0.5}}
    variance = 0.7 * 0.3 / 8 + 0.5 * 0.5 / 18
    half = 1.959964 * math.sqrt(variance) / 2
    expected = pytest.approx((0.625 - half, 0.625 + half), abs=1e-6)
    assert rank.macro_interval(0.625, subjects) == expected


def test_the_interval_of_a_mean_stays_between_zero_and_one():
    subjects = {"algebra": {"rows": 1, "accuracy": 0.0}}
    assert rank.macro_interval(0.0, subjects)[0] == 0.0
    subjects = {"algebra": {"rows": 1, "accuracy": 1.0}}
    assert rank.macro_interval(1.0, subjects)[1] == 1.0


def test_the_interval_of_a_mean_has_a_width_when_every_subject_is_all_right():
    subjects = {"algebra": {"rows": 5, "accuracy": 1.0}, "law": {"rows": 5, "accuracy": 1.0}}
    low, high = rank.macro_interval(1.0, subjects)
    assert low < 0.9
    assert high == 1.0


def test_ties_for_the_best_score_are_counted():
    tied = [(-1.0, -1.0), (-3.0, -2.0, -2.0)]
    scores = [*tied, (-1.0, -2.0), (-1.0, -2.0, -2.0), (-2.0, -1.0)]
    summary = rank.summarize([_prediction(0, option_scores) for option_scores in scores])
    assert (summary["ties"], summary["rows"]) == (2, 5)


def test_an_accuracy_needs_predictions():
    with pytest.raises(ValueError, match="no predictions"):
        rank.accuracy([])
    with pytest.raises(ValueError, match="no questions"):
        rank.majority_baseline([])
    with pytest.raises(ValueError, match="no predictions"):
        rank.summarize([])


def test_a_prediction_without_gold_is_neither_right_nor_wrong():
    prediction = rank.Prediction(id="q", subject="", gold=None, scores=(-1.0, -2.0))
    assert prediction.choice == 0
    with pytest.raises(ValueError, match="'q' has no gold"):
        _ = prediction.correct


def test_a_prediction_is_written_by_name_and_cannot_be_changed():
    with pytest.raises(TypeError):
        rank.Prediction("q", "", 0, (-1.0, -2.0))
    prediction = _prediction(0, (-1.0, -2.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.gold = 1


def test_standard_errors_are_those_of_a_sample_mean():
    values = np.array([1, 1, 1, 0, 0])
    assert rank.standard_error(3, 5) == pytest.approx(values.std(ddof=1) / math.sqrt(5))
    assert rank.standard_error(1, 2) == 0.5
    assert rank.standard_error(1, 1) is None
    right, wrong = (-1.0, -2.0), (-2.0, -1.0)
    summary = rank.summarize([_prediction(0, right)] * 30 + [_prediction(0, wrong)] * 20)
    assert summary["standard_error"] == rank.standard_error(30, 50)
    half = (summary["macro_interval"][1] - summary["macro_interval"][0]) / 2
    assert summary["macro_standard_error"] == pytest.approx(half / 1.959964, rel=1e-6)


def test_categories_of_mmlu_have_micro_and_macro_accuracies():
    right, wrong = (-1.0, -2.0), (-2.0, -1.0)
    predictions = [
        *[_prediction(0, right, "virology")] * 3,
        _prediction(0, wrong, "marketing"),
        _prediction(0, wrong, "high_school_physics"),
    ]
    assert rank.summarize(predictions)["by_category"] == {
        "STEM": {"rows": 1, "accuracy": 0.0, "macro_accuracy": 0.0, "subjects": 1},
        "other": {"rows": 4, "accuracy": 0.75, "macro_accuracy": 0.5, "subjects": 2},
    }
    other = [*predictions, _prediction(0, right, "cooking")]
    assert "by_category" not in rank.summarize(other)


def test_accuracies_by_reduction_are_those_of_its_scores():
    scores = {"mean": (-1.0, -2.0), "sum": (-3.0, -2.0)}
    predictions = [
        dataclasses.replace(_prediction(gold, scores["mean"]), scores_by_reduction=scores)
        for gold in (0, 0, 1)
    ]
    summary = rank.summarize(predictions)
    assert summary["accuracy_by_reduction"] == {"mean": 2 / 3, "sum": pytest.approx(1 / 3)}
    assert summary["accuracy"] == 2 / 3
    assert "accuracy_by_reduction" not in rank.summarize([_prediction(0, (-1.0, -2.0))])
