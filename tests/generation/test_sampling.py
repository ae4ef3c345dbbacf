"""Sampling: filters, temperature, and the inputs that a draw depends on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import chi2
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from teacherlm_jax.config import SamplingConfig, authors_sampling
from teacherlm_jax.generation.logit_filters import BLOCK
from teacherlm_jax.generation.sampling import needs_history, request_key, sample

PROBABILITIES = np.array([0.05, 0.4, 0.25, 0.3])  # by likelihood: tokens 1, 3, 2, 0
ROWS = 4000


def _draw(**settings):
    """Return ROWS draws; every history is the tokens 0, 2."""
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32)), (ROWS, 4))
    keys = jax.random.bits(jax.random.key(0), (ROWS, 2), jnp.uint32)
    config = SamplingConfig(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0} | settings)
    history = {
        "tokens": jnp.broadcast_to(jnp.array([0, 2, 1]), (ROWS, 3)),
        "lengths": jnp.full(ROWS, 2),
    }
    counters = jnp.zeros(ROWS, jnp.int32)
    return np.asarray(sample(logits, keys, counters, config, eos_id=1, **history))


def _check_frequencies(drawn, weights):
    """Assert that tokens were drawn in proportion, by Pearson's chi-square test at p = 0.001."""
    counts, possible = np.bincount(drawn, minlength=len(weights)), weights > 0
    assert counts[~possible].sum() == 0
    expected = len(drawn) * (weights / weights.sum())[possible]
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert freedom == 0 or chi2.sf(float(statistic), float(freedom)) > 0.001


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 4}, [0, 1, 2, 3]),
        ({"top_k": 50}, [0, 1, 2, 3]),
        ({"top_k": 3}, [1, 2, 3]),
        ({"top_k": 1}, [1]),
        ({"top_p": 0.9}, [1, 2, 3]),
        ({"top_p": 0.5}, [1, 3]),
        ({"top_p": 0.1}, [1]),
        ({"top_k": 2, "top_p": 0.5}, [1]),  # of the two, token 1 has 0.57
        ({"min_p": 0.1}, [0, 1, 2, 3]),
        ({"min_p": 0.7}, [1, 3]),
        ({"min_p": 1.0}, [1]),
        ({"top_k": 3, "min_p": 0.7}, [1, 3]),
        ({"top_p": 0.9, "min_p": 0.6}, [1, 2, 3]),
        ({"no_repeat_ngram": 1}, [1, 3]),
        ({"no_repeat_ngram": 1, "top_k": 1}, [1]),
        ({"min_new_tokens": 1}, [0, 2, 3]),
        ({"min_new_tokens": 1, "top_k": 2}, [2, 3]),
        ({"min_new_tokens": 1, "top_p": 0.49}, [3]),  # of the three, token 3 has 0.5
        ({"min_new_tokens": 1, "no_repeat_ngram": 1, "min_p": 0.5, "top_k": 3}, [3]),
    ],
)
def test_filters_keep_the_most_likely_tokens_in_proportion(settings, kept):
    weights = np.where(np.isin(np.arange(4), kept), PROBABILITIES, 0)
    _check_frequencies(_draw(**settings), weights)


def test_temperature_sharpens_or_flattens_and_zero_takes_the_most_likely_token():
    _check_frequencies(_draw(temperature=0.5), PROBABILITIES**2)
    _check_frequencies(_draw(temperature=4.0), PROBABILITIES**0.25)
    assert set(_draw(temperature=0.0)) == {1}


def test_min_p_is_relative_to_the_likelihoods_after_the_temperature():
    _check_frequencies(_draw(temperature=2.0, min_p=0.7), PROBABILITIES**0.5 * [0, 1, 1, 1])


def test_a_penalty_makes_tokens_of_the_history_less_likely():
    exponents = [2, 1, 2, 1]  # all logits are negative
    _check_frequencies(_draw(repetition_penalty=2.0), PROBABILITIES**exponents)


def test_without_a_draw_the_filters_of_history_and_length_act_and_the_others_do_not():
    likely = {"temperature": 0.0, "min_p": 1.0, "top_p": 0.1, "top_k": 1}
    assert set(_draw(**likely, min_new_tokens=1)) == {3}
    assert set(_draw(**likely, min_new_tokens=1, no_repeat_ngram=1)) == {3}
    assert set(_draw(**likely, repetition_penalty=0.5)) == {2}  # half of log 0.25


ALL_FILTERS = {
    "min_p": 0.5,
    "top_p": 0.5,
    "repetition_penalty": 1.5,
    "no_repeat_ngram": 1,
    "min_new_tokens": 1,
}


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"temperature": 0.0}])
def test_the_only_token_left_is_drawn_and_if_none_is_left_the_text_ends(settings):
    logits = jnp.broadcast_to(jnp.array([9.0, 5.0, -3.0, 8.0, 7.0]), (2, 5))
    keys = jnp.arange(4, dtype=jnp.uint32).reshape(2, 2)
    config = SamplingConfig(**{"temperature": 1.0, "top_k": 0} | ALL_FILTERS | settings)
    tokens, lengths = jnp.array([[0, 4, 3, 2]] * 2), jnp.array([3, 4])  # the end is 1
    drawn = sample(
        *(logits, keys, jnp.zeros(2, jnp.int32), config),
        eos_id=1,
        tokens=tokens,
        lengths=lengths,
    )
    assert drawn.tolist() == [2, 1]


@pytest.mark.parametrize("settings", [{"repetition_penalty": 1.1}, {"no_repeat_ngram": 3}])
def test_a_filter_of_the_history_needs_the_history(settings):
    logits, keys, counters = jnp.zeros((2, 5)), jnp.zeros((2, 2), jnp.uint32), jnp.arange(2)
    config, tokens = SamplingConfig(**settings), jnp.zeros((2, 3), jnp.int32)
    assert needs_history(config)
    for history in ({}, {"tokens": tokens}, {"lengths": counters}):
        with pytest.raises(ValueError, match="need tokens and lengths"):
            sample(logits, keys, counters, config, eos_id=1, **history)
    sample(logits, keys, counters, config, eos_id=1, tokens=tokens, lengths=counters)


def test_other_settings_do_not_need_the_history():
    others = {"min_p": 0.1, "min_new_tokens": 3, "stop": ("Q:",)}
    assert not needs_history(SamplingConfig(**others))


@pytest.mark.parametrize(
    ("settings", "drawn"),
    [
        ({}, "351 279 94 264 243 63 375 301 421 320 16 134"),
        (vars(authors_sampling()), "351 279 94 264 243 63 375 301 190 320 16 134"),
        (
            {"temperature": 0.5, "top_k": 0, "top_p": 1.0},
            "219 433 94 264 208 345 209 301 421 3 427 461",
        ),
        ({"top_k": 500, "top_p": 0.9}, "247 279 94 264 243 63 375 301 421 320 16 134"),
        ({"top_k": 0}, "219 16 94 264 456 345 388 350 421 3 427 461"),
        ({"temperature": 0.0}, "219 433 51 264 208 345 251 301 421 296 427 412"),
    ],
)
def test_draws_never_change(settings, drawn):
    logits = (3 * np.random.default_rng(0).normal(size=(12, 500))).astype(np.float32)
    keys = jnp.stack([request_key(7, str(row), "cot") for row in range(12)])
    config = SamplingConfig(**settings)
    actual = sample(jnp.asarray(logits), keys, jnp.arange(12), config, eos_id=1)
    assert actual.tolist() == [int(token) for token in drawn.split()]


def test_top_p_keeps_no_token_beyond_the_set_that_reaches_it():
    logits = jnp.broadcast_to(jnp.array([0.0, 0.0, -jnp.inf, -jnp.inf]), (200, 4))  # 1/2 each
    keys = jax.random.bits(jax.random.key(0), (200, 2), jnp.uint32)
    settings = SamplingConfig(temperature=1.0, top_k=0, top_p=0.5)
    assert not np.asarray(sample(logits, keys, jnp.zeros(200, jnp.int32), settings, eos_id=3)).any()


def test_a_draw_depends_only_on_its_own_logits_key_and_counter():
    logits = jax.random.normal(jax.random.key(1), (6, 30))
    keys = np.stack([request_key(0, str(row), "cot") for row in range(6)])
    counters, order = jnp.arange(6), jnp.array([3, 1, 5])
    settings = SamplingConfig(top_k=20)
    together = sample(logits, jnp.asarray(keys), counters, settings, eos_id=1)
    some = sample(logits[order], jnp.asarray(keys)[order], counters[order], settings, eos_id=1)
    np.testing.assert_array_equal(together[order], some)


def test_a_draw_without_filters_is_the_categorical_draw_of_the_key_folded_with_the_counter():
    logits = jax.random.normal(jax.random.key(1), (40, 30))
    bits = jax.random.bits(jax.random.key(2), (40, 2), jnp.uint32)
    counters = jnp.arange(40)
    expected = [
        jax.random.categorical(
            jax.random.fold_in(jax.random.wrap_key_data(bits[row], impl="threefry2x32"), row),
            logits[row] / 0.5,
        )
        for row in range(40)
    ]
    settings = SamplingConfig(temperature=0.5, top_k=0, top_p=1.0)
    drawn = sample(logits, bits, counters, settings, eos_id=1)
    assert drawn.tolist() == [int(token) for token in expected]


@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_k": 0} | ALL_FILTERS])
def test_a_vocabulary_on_several_devices_gives_the_same_draws(settings):
    config = SamplingConfig(**settings)
    logits = 3 * jax.random.normal(jax.random.key(1), (8, 8 * 3 * BLOCK))
    keys = jax.random.bits(jax.random.key(2), (8, 2), jnp.uint32)
    tokens = jnp.argsort(-logits, axis=-1)[:, :8]  # the most likely ones
    draw = jax.jit(functools.partial(sample, config=config, eos_id=1))
    history = {"tokens": tokens, "lengths": jnp.arange(8)}
    expected = draw(logits, keys, jnp.arange(8), **history)
    mesh = jax.make_mesh((2, 4), ("rows", "tokens"), axis_types=(AxisType.Auto,) * 2)
    placed = jax.device_put(logits, NamedSharding(mesh, PartitionSpec("rows", "tokens")))
    np.testing.assert_array_equal(draw(placed, keys, jnp.arange(8), **history), expected)


def test_another_counter_or_key_gives_an_independent_draw():
    logits = jnp.zeros((200, 50))
    key = jnp.broadcast_to(jnp.asarray(request_key(0, "a", "cot")), (200, 2))
    other = jnp.broadcast_to(jnp.asarray(request_key(0, "b", "cot")), (200, 2))
    counters, settings = jnp.arange(200), SamplingConfig(temperature=1.0, top_k=0, top_p=1.0)
    drawn = sample(logits, key, counters, settings, eos_id=1)
    assert len(set(np.asarray(drawn).tolist())) > 40
    assert np.mean(np.asarray(drawn == sample(logits, other, counters, settings, eos_id=1))) < 0.1
    assert (
        np.mean(np.asarray(drawn == sample(logits, key, counters + 200, settings, eos_id=1))) < 0.1
    )


def test_request_keys_differ_by_seed_sample_and_kind():
    keys = {
        tuple(request_key(seed, sample_id, kind).tolist())
        for seed in (0, 1)
        for sample_id in ("a", "ab", "1")
        for kind in ("cot", "mistake", "bcot")
    }
    assert len(keys) == 18
    assert request_key(0, "a", "cot").dtype == np.uint32


def test_request_keys_never_change():
    assert request_key(0, "creak-1", "cot").tolist() == [1841446931, 459201074]


def test_draws_do_not_depend_on_the_default_generator_of_the_process():
    logits = jax.random.normal(jax.random.key(1), (6, 30))
    keys = jnp.stack([request_key(0, str(row), "cot") for row in range(6)])
    usual = sample(logits, keys, jnp.arange(6), SamplingConfig(), eos_id=1)
    with jax.default_prng_impl("rbg"):
        other = sample(logits, keys, jnp.arange(6), SamplingConfig(), eos_id=1)
    np.testing.assert_array_equal(usual, other)
