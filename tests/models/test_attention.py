"""The plain implementation against attention written with loops, and its edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.models import alibi
from teacherlm_jax.models.attention import attend_to_cache, attention

HEADS, HEAD_WIDTH = 3, 4
SEGMENTS = jnp.array([[1, 1, 1, 2, 2, 0], [1, 2, 3, 3, 0, 0]])
POSITIONS = jnp.array([[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 0, 0]])
SLOPES = jnp.asarray(alibi.slopes(HEADS))


def _random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _qkv():
    return (_random(2, 6, HEADS, HEAD_WIDTH, seed=seed) for seed in range(3))


def _attention(q, k, v, segments=SEGMENTS, implementation="xla"):
    return attention(
        q,
        k,
        v,
        alibi_slopes=SLOPES,
        query_positions=POSITIONS,
        key_positions=POSITIONS,
        query_segment_ids=segments,
        key_segment_ids=segments,
        implementation=implementation,
    )


def _one_by_one(q, k, v, b, t, n):
    seen = [
        s
        for s in range(6)
        if SEGMENTS[b, s] == SEGMENTS[b, t] and POSITIONS[b, s] <= POSITIONS[b, t]
    ]
    scores = [
        float(q[b, t, n] @ k[b, s, n]) / HEAD_WIDTH**0.5
        - float(SLOPES[n] * (POSITIONS[b, t] - POSITIONS[b, s]))
        for s in seen
    ]
    weights = np.exp(scores) / np.exp(scores).sum()
    return sum(w * np.asarray(v[b, s, n]) for w, s in zip(weights, seen, strict=True))


def test_attention_equals_its_definition_written_with_loops():
    q, k, v = _qkv()
    mixed = _attention(q, k, v)
    for b, t in [(b, t) for b in range(2) for t in range(6) if SEGMENTS[b, t]]:
        for n in range(HEADS):
            np.testing.assert_allclose(mixed[b, t, n], _one_by_one(q, k, v, b, t, n), atol=1e-5)


def test_rows_of_padding_give_finite_results_and_gradients():
    q, k, v = _qkv()
    keys_of_others = jnp.full_like(SEGMENTS, 7).at[0].set(SEGMENTS[0])

    def total(q, k, v):
        return jnp.sum(
            attention(
                q,
                k,
                v,
                alibi_slopes=SLOPES,
                query_positions=POSITIONS,
                key_positions=POSITIONS,
                query_segment_ids=SEGMENTS * 0,
                key_segment_ids=keys_of_others,  # row 1 has no key that any query may see
            )
        )

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(q, k, v)
    assert jnp.isfinite(value)
    assert all(bool(jnp.isfinite(gradient).all()) for gradient in gradients)


def test_the_result_has_the_dtype_of_the_values():
    q, k, v = (x.astype(jnp.bfloat16) for x in _qkv())
    assert _attention(q, k, v).dtype == jnp.bfloat16


def test_attention_to_a_cache_equals_attention_of_the_last_query():
    q, k, v = _qkv()
    lengths = jnp.array([4, 2])
    entries = jnp.broadcast_to(jnp.arange(6), (2, 6))
    wanted = attention(
        q[:, :1],
        k,
        v,
        alibi_slopes=SLOPES,
        query_positions=lengths[:, None],
        key_positions=entries,
        query_segment_ids=jnp.ones((2, 1), int),
        key_segment_ids=(entries <= lengths[:, None]).astype(int),
    )
    found = attend_to_cache(q[:, 0], k, v, alibi_slopes=SLOPES, lengths=lengths)
    np.testing.assert_allclose(found, wanted[:, 0], atol=1e-6)


def test_an_unknown_implementation_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"config\.model\.attention='magic': wanted one of .*xla"):
        _attention(*_qkv(), implementation="magic")


def test_shapes_that_do_not_fit_the_annotations_are_refused_in_tests():
    q, k, v = _qkv()
    with pytest.raises(Exception, match="Type-check error"):
        _attention(q, k[..., 1:], v)
