"""Filters of logits, compared with NumPy and with `jax.lax.top_k`, and their edge cases.

test_sampling_against_transformers.py compares them with the processors of transformers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.generation import logit_filters as filters

BELOW = np.nextafter(np.float32(1), np.float32(0))


def apply(function, *arrays, **settings):
    return np.asarray(jax.jit(functools.partial(function, **settings))(*map(jnp.asarray, arrays)))


def random_scores(rows, vocabulary, *, scale=2.0, digits=None, seed=0):
    """Return normal scores; rounded to `digits`, many of them are equal."""
    scores = np.random.default_rng(seed).normal(size=(rows, vocabulary)) * scale
    return (scores if digits is None else np.round(scores, digits)).astype(np.float32)


def likelihoods(scores):
    weights = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


# Repetition and length.


@pytest.mark.parametrize("function", ["penalize_repetition", "exclude_repeated_ngrams"])
def test_padding_after_the_history_changes_nothing(function):
    filtered = {
        "penalize_repetition": functools.partial(filters.penalize_repetition, penalty=1.5),
        "exclude_repeated_ngrams": functools.partial(filters.exclude_repeated_ngrams, size=2),
    }[function]
    scores, history = random_scores(3, 6), np.array([[4, 5, 4]] * 3, np.int32)
    lengths = np.array([0, 2, 3], np.int32)
    expected = apply(filtered, scores, history, lengths)
    for padding in ([0, 0, 0, 0], [5, 4, 5, 4], [-1, 6, 7, 1000]):
        padded = np.concatenate([history, np.array([padding] * 3, np.int32)], axis=1)
        padded[0, :3], padded[1, 2] = padding[:3], padding[0]
        np.testing.assert_array_equal(apply(filtered, scores, padded, lengths), expected)
    np.testing.assert_array_equal(expected[0], scores[0])  # a history of no tokens
    assert (expected[2] != scores[2]).any()


def test_a_repeated_token_is_penalized_once_and_excluded_tokens_stay_excluded():
    scores = np.array([[3.0, -3.0, 0.0, -np.inf, 2.0]], np.float32)
    history = np.array([[0, 1, 0, 2, 0, 1, 3]], np.int32)
    penalized = apply(
        filters.penalize_repetition, scores, history, np.array([7], np.int32), penalty=2.0
    )
    assert penalized.tolist() == [[1.5, -6.0, 0.0, -np.inf, 2.0]]


@pytest.mark.parametrize(
    ("history", "size", "excluded"),
    [
        ([1, 2, 3, 1, 2], 3, [3]),
        ([1, 2, 3, 1, 2, 0, 1, 2], 3, [0, 3]),  # after both occurrences
        ([1, 2, 3, 1, 2], 2, [3]),
        ([1, 2, 3, 1, 2], 1, [1, 2, 3]),
        ([1, 1, 1], 2, [1]),  # the latest token is also the start of an n-gram
        ([1], 1, [1]),
        ([1, 1], 2, [1]),
        ([1, 2, 3], 3, []),  # the only n-gram is the history itself
        ([1, 2, 1, 2], 4, []),
        ([1, 1], 3, []),  # the history is shorter than an n-gram
        ([1, 1], 9, []),
        ([], 1, []),
    ],
)
def test_tokens_that_would_repeat_an_ngram_are_excluded(history, size, excluded):
    for width in {max(len(history), 1), 8, 12}:  # with and without padding
        tokens = np.full((1, width), 3, np.int32)
        tokens[0, : len(history)] = history
        filtered = apply(
            filters.exclude_repeated_ngrams,
            *(np.zeros((1, 5), np.float32), tokens, np.array([len(history)], np.int32)),
            size=size,
        )
        assert np.flatnonzero(filtered[0] == -np.inf).tolist() == excluded
        assert set(filtered[0]) <= {0, -np.inf}


def test_the_end_is_excluded_from_the_first_tokens_of_a_text():
    scores, counters = random_scores(4, 3), np.array([0, 2, 3, 4], np.int32)
    filtered = apply(filters.exclude_early_end, scores, counters, eos_id=1, minimum=3)
    assert (filtered[:, 1] == -np.inf).tolist() == [True, True, False, False]
    kept = filtered != -np.inf
    np.testing.assert_array_equal(filtered[kept], scores[kept])


# The most likely tokens.


@pytest.mark.parametrize("digits", [None, 1, 0])  # without, with some and with many ties
@pytest.mark.parametrize(
    ("vocabulary", "count"),
    [
        (40, 3),  # one search of all
        (8 * 3 * filters.BLOCK - filters.BLOCK, 3),  # the last size that is searched as a whole
        (8 * 3 * filters.BLOCK - 1, 3),  # the last block is not full
        (8 * 3 * filters.BLOCK, 3),
        (8 * 20 * filters.BLOCK + 1, 20),  # the last block has one token
        (9000, 1),
    ],
)
def test_the_most_likely_tokens_are_those_of_a_search_of_the_whole_row(vocabulary, count, digits):
    scores = random_scores(5, vocabulary, digits=digits) + np.float32(0.01)  # no zeros
    scores[1, 2000:] = -np.inf
    scores[2, : vocabulary - 2] = -np.inf  # fewer than `count` are left
    scores[3] = 7
    scores[4, -1] = 100  # in the last block
    expected = jax.lax.top_k(scores, count)
    actual = jax.jit(filters.most_likely, static_argnums=1)(scores, count)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


@pytest.mark.parametrize("vocabulary", [30, 8 * 3 * filters.BLOCK])
def test_zeros_stay_between_positive_and_negative_scores(vocabulary):
    scores = np.full((1, vocabulary), -1.0, np.float32)
    scores[0, [3, 7, 11]] = (0.0, 0.5, -0.5)
    highest, tokens = filters.most_likely(jnp.asarray(scores), 3)
    assert highest.tolist() == [[0.5, 0.0, -0.5]]
    assert tokens.tolist() == [[7, 3, 11]]


@pytest.mark.parametrize("vocabulary", [30, 8 * 2 * filters.BLOCK])
def test_zero_and_minus_zero_are_equally_likely(vocabulary):
    scores = np.where(np.arange(vocabulary) % 2, 0.0, -0.0).astype(np.float32)[None]
    assert filters.most_likely(jnp.asarray(scores), 2)[1].tolist() == [[0, 1]]


def test_more_tokens_than_the_vocabulary_has_are_all_of_it_in_descending_order():
    scores = random_scores(2, 7)
    highest, tokens = filters.most_likely(jnp.asarray(scores), 50)
    np.testing.assert_array_equal(tokens, np.argsort(-scores, axis=-1))
    np.testing.assert_array_equal(highest, -np.sort(-scores, axis=-1))


# The nucleus.


def check_nucleus(scores, kept, top_p):
    """Assert that each row keeps a prefix in order of likelihood and token, as short as can be."""
    weights, rounding = likelihoods(scores), 2e-6
    for row in range(len(scores)):
        order = np.lexsort((np.arange(scores.shape[1]), -scores[row]))
        count = kept[row].sum()
        assert set(order[:count]) == set(np.flatnonzero(kept[row]))
        sums = weights[row][order].cumsum()
        assert sums[count - 1] >= top_p - rounding
        assert count == 1 or sums[count - 2] < top_p + rounding


@pytest.mark.parametrize("digits", [None, 1, 0])
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 5.0, 50.0])
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
def test_the_nucleus_is_the_smallest_set_of_most_likely_tokens(scale, digits, top_p):
    scores = random_scores(6, 3000, scale=scale, digits=digits)
    filtered = apply(filters.keep_nucleus, scores, top_p=top_p)
    kept = filtered != -np.inf
    np.testing.assert_array_equal(filtered[kept], scores[kept])
    check_nucleus(scores, kept, top_p)


def test_both_forms_of_the_nucleus_keep_the_same_tokens():
    scores = random_scores(50, 400)
    highest, tokens = jax.lax.top_k(scores, 400)
    of_sorted = apply(filters.keep_sorted_nucleus, highest, top_p=0.8)
    assert (np.diff(of_sorted[:, :5]) <= 0).all()
    kept = apply(filters.keep_nucleus, scores, top_p=0.8) != -np.inf
    for row in range(50):
        assert set(np.flatnonzero(kept[row])) == set(
            np.asarray(tokens)[row, of_sorted[row] != -np.inf]
        )


@pytest.mark.parametrize(
    ("scores", "top_p", "kept"),
    [
        ([0.0, 0.0, 0.0, 0.0], 0.5, [0, 1]),  # exactly reached
        ([0.0, 0.0, 0.0, 0.0], 0.51, [0, 1, 2]),
        ([0.0, 0.0, 0.0, 0.0], 1e-9, [0]),
        ([0.0, 0.0, 0.0, 0.0], BELOW, [0, 1, 2, 3]),
        ([0.0, 1.0, 0.0, 1.0], 0.4, [1, 3]),
        ([0.0, 1.0, 0.0, 1.0], 0.8, [0, 1, 3]),  # 1 and 3 have 0.731
        ([-np.inf, 0.0, -np.inf, 0.0], 0.9, [1, 3]),
        ([-np.inf, -np.inf, 5.0, -np.inf], BELOW, [2]),
        ([1000.0, 0.0, 0.0, 0.0], BELOW, [0]),  # the others have the probability 0 in float32
    ],
)
def test_of_equally_likely_tokens_the_lowest_that_are_needed_are_in_the_nucleus(
    scores, top_p, kept
):
    row = np.array([scores], np.float32)
    filtered = apply(filters.keep_nucleus, row, top_p=float(top_p))
    assert np.flatnonzero(filtered[0] != -np.inf).tolist() == kept
    highest, tokens = jax.lax.top_k(row, len(scores))
    filtered = apply(filters.keep_sorted_nucleus, highest, top_p=float(top_p))
    assert sorted(np.asarray(tokens)[filtered != -np.inf]) == kept


def test_the_nucleus_of_a_vocabulary_is_found_without_sorting_it():
    keep = jax.jit(functools.partial(filters.keep_nucleus, top_p=0.9))
    program = keep.lower(jax.ShapeDtypeStruct((4, 10000), jnp.float32)).as_text()
    assert "exponential" in program
    assert "sort" not in program
    assert "top_k" not in program


# The threshold below the most likely token.


@pytest.mark.parametrize(
    ("min_p", "kept"), [(1.0, [1, 3]), (0.5, [1, 3]), (0.3, [0, 1, 3]), (0.01, [0, 1, 2, 3])]
)
def test_tokens_far_less_likely_than_the_most_likely_are_excluded(min_p, kept):
    scores = np.array([[-1.0, 0.0, -4.0, 0.0, -np.inf]], np.float32) + np.float32(3)
    filtered = apply(filters.exclude_unlikely, scores, min_p=min_p)
    assert np.flatnonzero(filtered[0] != -np.inf).tolist() == kept
    np.testing.assert_array_equal(filtered[0, kept], scores[0, kept])
