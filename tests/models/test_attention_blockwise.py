"""Properties of blockwise attention beyond the contract: linear memory, and skipped blocks."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import attention_blockwise
from teacherlm_jax.models.attention import attention

HEADS, WIDTH = 2, 16


def _loss(q, k, v, segment_ids, positions, implementation):
    mixed = attention(
        q,
        k,
        v,
        alibi_slopes=jnp.array([0.5, 0.25]),
        positions=positions,
        segment_ids=segment_ids,
        implementation=implementation,
    )
    return jnp.sum(mixed**2)


def _temporary_bytes(length, implementation, gradients):
    loss = functools.partial(_loss, implementation=implementation)
    array = jax.ShapeDtypeStruct((1, length, HEADS, WIDTH), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    function = jax.grad(loss, argnums=(0, 1, 2)) if gradients else loss
    compiled = jax.jit(function).lower(array, array, array, tokens, tokens).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("gradients", [False, True])
def test_memory_grows_linearly_with_the_length(gradients):
    sizes = [_temporary_bytes(T, "blockwise", gradients) for T in (1024, 2048, 4096)]
    assert all(after <= 2.1 * before for before, after in itertools.pairwise(sizes))


def test_memory_of_the_reference_grows_quadratically_with_the_length():
    """Check that the test above could fail."""
    sizes = [_temporary_bytes(T, "xla", gradients=True) for T in (1024, 2048, 4096)]
    assert all(after >= 3.8 * before for before, after in itertools.pairwise(sizes))
    assert sizes[-1] > 10 * _temporary_bytes(4096, "blockwise", gradients=True)


def test_blocks_without_a_visible_key_are_skipped(monkeypatch):
    """NaN values do not affect the result only if their blocks are skipped."""
    monkeypatch.setattr(attention_blockwise, "CPU_BLOCK", 16)
    segment_ids = jnp.repeat(jnp.array([[1, 2, 0]]), jnp.array([32, 48, 16]), axis=1)
    positions = jnp.concatenate([jnp.arange(32), jnp.arange(48), jnp.zeros(16, int)])[None]
    q, k, v = (
        jnp.asarray(np.random.default_rng(seed).normal(size=(1, 96, HEADS, WIDTH)), jnp.float32)
        for seed in range(3)
    )
    v = v.at[:, :32].set(jnp.nan)

    def of_second_text(q, k, v):
        mixed = attention(
            q,
            k,
            v,
            alibi_slopes=None,
            positions=positions,
            segment_ids=segment_ids,
            implementation="blockwise",
        )
        return jnp.sum(mixed[:, 32:80])

    value, gradients = jax.jit(jax.value_and_grad(of_second_text, argnums=(0, 1, 2)))(q, k, v)
    assert jnp.isfinite(value)
    assert all(bool(jnp.isfinite(gradient[:, 32:]).all()) for gradient in gradients)


@pytest.mark.parametrize(("platform", "size"), [("cpu", 64), ("gpu", 256), ("tpu", 256)])
def test_blocks_are_smaller_on_cpus(platform, size, monkeypatch):
    sizes = []
    monkeypatch.setattr(attention_blockwise.sharding, "traced_platform", lambda: platform)
    monkeypatch.setattr(
        attention_blockwise, "_attend", lambda size, q, *rest: sizes.append(size) or q
    )
    q = jnp.zeros((1, 512, HEADS, WIDTH))
    whole = jnp.zeros((1, 512), int)
    attention_blockwise.blockwise(q, q, q, alibi_slopes=None, positions=whole, segment_ids=whole)
    assert sizes == [size]
