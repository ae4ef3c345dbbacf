"""Sampling: filters, temperature, and the inputs that a draw depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.config import SamplingConfig, authors_sampling
from teacherlm_jax.generation.sampling import request_key, sample

PROBABILITIES = np.array([0.05, 0.4, 0.25, 0.3])  # by likelihood: tokens 1, 3, 2, 0
ROWS = 4000


def _draw(**settings):
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32)), (ROWS, 4))
    keys = jax.random.bits(jax.random.key(0), (ROWS, 2), jnp.uint32)
    config = SamplingConfig(**{"temperature": 1.0, "top_p": 1.0} | settings)
    return np.asarray(sample(logits, keys, jnp.zeros(ROWS, jnp.int32), config))


def _shares(drawn):
    return np.bincount(drawn, minlength=4) / ROWS


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 0}, [0, 1, 2, 3]),
        ({"top_k": 50}, [0, 1, 2, 3]),
        ({"top_k": 3}, [1, 2, 3]),
        ({"top_k": 1}, [1]),
        ({"top_k": 0, "top_p": 0.9}, [1, 2, 3]),
        ({"top_k": 0, "top_p": 0.5}, [1, 3]),
        ({"top_k": 0, "top_p": 0.1}, [1]),
        ({"top_k": 2, "top_p": 0.5}, [1]),  # of the two, token 1 has 0.57
    ],
)
def test_filters_keep_the_most_likely_tokens_in_proportion(settings, kept):
    expected = np.where(np.isin(np.arange(4), kept), PROBABILITIES, 0)
    np.testing.assert_allclose(_shares(_draw(**settings)), expected / expected.sum(), atol=0.03)


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
    actual = sample(jnp.asarray(logits), keys, jnp.arange(12), config)
    assert actual.tolist() == [int(token) for token in drawn.split()]


def test_top_p_keeps_no_token_beyond_the_set_that_reaches_it():
    logits = jnp.broadcast_to(jnp.array([0.0, 0.0, -jnp.inf, -jnp.inf]), (200, 4))  # 1/2 each
    keys = jax.random.bits(jax.random.key(0), (200, 2), jnp.uint32)
    settings = SamplingConfig(temperature=1.0, top_k=0, top_p=0.5)
    assert not np.asarray(sample(logits, keys, jnp.zeros(200, jnp.int32), settings)).any()


def test_low_temperature_sharpens_and_zero_takes_the_most_likely_token():
    sharpened = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    np.testing.assert_allclose(_shares(_draw(temperature=0.5)), sharpened, atol=0.03)
    assert set(_draw(temperature=0.0)) == {1}


def test_a_draw_depends_only_on_its_own_logits_key_and_counter():
    logits = jax.random.normal(jax.random.key(1), (6, 30))
    keys = np.stack([request_key(0, str(row), "cot") for row in range(6)])
    counters, order = jnp.arange(6), jnp.array([3, 1, 5])
    settings = SamplingConfig(top_k=20)
    together = sample(logits, jnp.asarray(keys), counters, settings)
    some = sample(logits[order], jnp.asarray(keys)[order], counters[order], settings)
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
    drawn = sample(logits, bits, counters, settings)
    assert drawn.tolist() == [int(token) for token in expected]


def test_another_counter_or_key_gives_an_independent_draw():
    logits = jnp.zeros((200, 50))
    key = jnp.broadcast_to(jnp.asarray(request_key(0, "a", "cot")), (200, 2))
    other = jnp.broadcast_to(jnp.asarray(request_key(0, "b", "cot")), (200, 2))
    counters, settings = jnp.arange(200), SamplingConfig(temperature=1.0, top_k=0, top_p=1.0)
    drawn = sample(logits, key, counters, settings)
    assert len(set(np.asarray(drawn).tolist())) > 40
    assert np.mean(np.asarray(drawn == sample(logits, other, counters, settings))) < 0.1
    assert np.mean(np.asarray(drawn == sample(logits, key, counters + 200, settings))) < 0.1


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
    usual = sample(logits, keys, jnp.arange(6), SamplingConfig())
    with jax.default_prng_impl("rbg"):
        other = sample(logits, keys, jnp.arange(6), SamplingConfig())
    np.testing.assert_array_equal(usual, other)
