"""Attention block by block, in memory linear in T: flash attention (arXiv 2205.14135) in JAX.

Queries and keys are split into blocks, and only the scores of one pair of blocks exist at a time.
The backward pass recomputes them from the saved log-sum-exp. Pairs of blocks without a visible key
are skipped: those above the diagonal, and those before the first text that reaches into the query
block. The time for packed rows thus depends on the lengths of their texts, not on T².
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from teacherlm_jax import sharding
from teacherlm_jax.models.attention_xla import MASKED_SCORE

# Largest number of tokens in a block. Larger blocks compute more masked pairs. Smaller blocks take
# more steps, and on GPUs each step launches kernels. On CPUs, small blocks are faster for packed
# rows of short texts.
BLOCK, CPU_BLOCK = 256, 64


def blockwise(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """Implement the contract of `attention.attention` for any T, padded to equal blocks inside.

    All rows of a batch visit the blocks that any of them needs.
    """
    T = q.shape[1]
    largest = CPU_BLOCK if sharding.traced_platform() == "cpu" else BLOCK
    blocks = math.ceil(T / largest)
    size = math.ceil(T / blocks)
    arrays = (_pad(x, blocks * size - T) for x in (q, k, v, positions, segment_ids))
    q, k, v, positions, segment_ids = arrays
    first = _first_key_blocks(positions, segment_ids, size)
    return _attend(size, q, k, v, alibi_slopes, segment_ids, first)[:, :T]


def _pad(x: Shaped[Array, "B T ..."], count: int) -> Shaped[Array, "B _ ..."]:
    return jnp.pad(x, ((0, 0), (0, count)) + ((0, 0),) * (x.ndim - 2)) if count else x


def _first_key_blocks(
    positions: Int[Array, "B T"], segment_ids: Int[Array, "B T"], size: int
) -> Int[Array, " blocks"]:
    """Return the first key block that any query of each query block sees; it never decreases."""
    here = jnp.arange(positions.shape[1])
    starts = here[None] - jnp.where(segment_ids == 0, 0, positions)
    return jnp.min(starts.reshape(len(starts), -1, size), axis=(0, 2)) // size


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(size, q, k, v, slopes, segment_ids, first):
    return _forward(size, q, k, v, slopes, segment_ids, first)[0]


def _forward(size, q, k, v, slopes, segment_ids, first):
    queries, keys, values = (_tiles(x, size) for x in (q, k, v))
    segments = _tiles(segment_ids, size)

    def query_block(_, inputs):
        i, q, segment, first = inputs

        def key_block(j, carry):
            highest, total, mixed = carry
            scores = _scores(q, _take(keys, j), slopes, (i - j) * size, segment, _take(segments, j))
            higher = jnp.maximum(highest, jnp.max(scores, axis=-1))
            weights = jnp.exp(scores - higher[..., None])
            shrink = jnp.exp(highest - higher)
            added = _product("BNTS,BNSH->BNTH", weights.astype(v.dtype), _take(values, j))
            mixed = mixed * shrink[..., None] + added
            return higher, total * shrink + jnp.sum(weights, axis=-1), mixed

        none = jnp.zeros(q.shape[:-1], jnp.float32)
        start = (none + MASKED_SCORE, none, jnp.zeros(q.shape, jnp.float32))
        # The diagonal comes last: there each query sees itself, so contributions of earlier
        # blocks without a visible key are scaled to zero.
        highest, total, mixed = jax.lax.fori_loop(first, i + 1, key_block, start)
        return None, ((mixed / total[..., None]).astype(v.dtype), highest + jnp.log(total))

    inputs = (jnp.arange(len(first)), queries, segments, first)
    _, (mixed, log_sums) = jax.lax.scan(query_block, None, inputs)
    mixed = _untile(mixed)
    return mixed, (q, k, v, slopes, segment_ids, first, mixed, log_sums)


def _backward(size, residuals, d_mixed):
    """Compute all gradients in one pass over the pairs of blocks, with five products each."""
    q, k, v, slopes, segment_ids, first, mixed, log_sums = residuals
    queries, keys, values = (_tiles(x, size) for x in (q, k, v))
    segments = _tiles(segment_ids, size)
    # d_scores = weights * (d_weights - row sum of weights * d_weights); that sum is mixed.d_mixed.
    both = mixed.astype(jnp.float32) * d_mixed.astype(jnp.float32)
    means = _tiles(jnp.sum(both, axis=-1, keepdims=True), size)[..., 0]
    d_mixed = _tiles(d_mixed, size)

    def key_block(dq, inputs):
        j, k, v, segment, stop = inputs

        def query_block(i, carry):
            dq, dk, dv = carry
            q, d_out = _take(queries, i), _take(d_mixed, i)
            scores = _scores(q, k, slopes, (i - j) * size, _take(segments, i), segment)
            weights = jnp.exp(scores - _take(log_sums, i)[..., None])
            d_weights = _product("BNTH,BNSH->BNTS", d_out, v)
            d_scores = weights * (d_weights - _take(means, i)[..., None]) * q.shape[-1] ** -0.5
            d_scores = d_scores.astype(q.dtype)
            dv = dv + _product("BNTS,BNTH->BNSH", weights.astype(v.dtype), d_out)
            dk = dk + _product("BNTS,BNTH->BNSH", d_scores, q)
            added = _take(dq, i) + _product("BNTS,BNSH->BNTH", d_scores, k)
            return jax.lax.dynamic_update_index_in_dim(dq, added, i, 0), dk, dv

        none = jnp.zeros(k.shape, jnp.float32)
        dq, dk, dv = jax.lax.fori_loop(j, stop, query_block, (dq, none, none))
        return dq, (dk.astype(k.dtype), dv.astype(v.dtype))

    blocks = jnp.arange(len(first))
    stops = jnp.sum(first[None, :] <= blocks[:, None], axis=1)  # one past the last query block
    dq = jnp.zeros(queries.shape, jnp.float32)
    dq, (dk, dv) = jax.lax.scan(key_block, dq, (blocks, keys, values, segments, stops))
    return _untile(dq).astype(q.dtype), _untile(dk), _untile(dv), None, None, None


_attend.defvjp(_forward, _backward)


def _scores(q, k, slopes, ahead, query_segments, key_segments):
    """Return the scores of a block of queries and a block of keys `ahead` tokens earlier."""
    size = q.shape[2]
    # Within a text, distances in the row equal distances in position.
    distance = ahead + jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
    scores = _product("BNTH,BNSH->BNTS", q, k) * q.shape[-1] ** -0.5
    if slopes is not None:
        scores = scores - (slopes[:, None, None] * distance[None].astype(jnp.float32))[None]
    same = query_segments[:, :, None] == key_segments[:, None, :]
    return jnp.where((same & (distance >= 0)[None])[:, None], scores, MASKED_SCORE)


def _product(dims, a, b):
    return jnp.einsum(dims, a, b, preferred_element_type=jnp.float32)


def _tiles(x, size):
    """Split [B T N H] or [B T] into blocks: [blocks B N size H] or [blocks B size]."""
    x = x.reshape(x.shape[0], -1, size, *x.shape[2:])
    return jnp.einsum("BCTNH->CBNTH", x) if x.ndim == 5 else jnp.einsum("BCT->CBT", x)


def _untile(x):
    blocks, B, N, size, H = x.shape
    return jnp.einsum("CBNTH->BCTNH", x).reshape(B, blocks * size, N, H)


def _take(x, block):
    return jax.lax.dynamic_index_in_dim(x, block, keepdims=False)
