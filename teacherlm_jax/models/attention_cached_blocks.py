"""Attention to the KV cache on a CPU: blocks of a few rows and entries, with an online softmax.

On a CPU, XLA copies a slice of the cache before it uses it, whatever the operation is. A small
block stays in the processor's cache, and no entries are read beyond the longer one of its rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from teacherlm_jax.models.attention_xla import MASKED_SCORE

_ROWS, _ENTRIES = 2, 32  # of a block

Softmax = tuple[Float32[Array, "R N"], Float32[Array, "R N"], Float32[Array, "R N H"]]


def attend_by_blocks(
    q: Float[Array, "B N H"],
    k: Float[Array, "L B S D"],
    v: Float[Array, "L B S D"],
    layer: Int[Array, ""],
    lengths: Int[Array, " B"],
    slopes: Float[Array, " N"] | None,
) -> Float[Array, "B N H"]:
    """Compute `attention_cached.attend_to_cache` in blocks, on one device.

    The result of a row does not depend on the other rows, not even in its last bit.
    """
    batch, heads, width = q.shape
    rows = min(_ROWS, batch)

    def of_rows(first):
        first = jnp.minimum(first, batch - rows)  # the last rows may overlap those before
        queries = jax.lax.dynamic_slice_in_dim(q, first, rows).astype(jnp.float32)
        own = jax.lax.dynamic_slice_in_dim(lengths, first, rows)
        return _attend_rows(queries, k, v, (layer, first), own, slopes).astype(v.dtype)

    groups = jax.lax.map(of_rows, jnp.arange(0, batch, rows))
    whole = groups[:-1].reshape(-1, heads, width)
    return jnp.concatenate([whole, groups[-1][len(whole) - batch :]])


def _attend_rows(queries, k, v, place, lengths, slopes):
    """Compute the attention of some rows of one layer; `place` is the layer and the first row."""
    (rows, heads, width), room = queries.shape, k.shape[2]
    size = min(_ENTRIES, room)

    def block(number, softmax):
        start = jnp.minimum(number * size, room - size)
        entries = start + jnp.arange(size)
        first = (*place, start, 0)

        def part(cache):
            found = jax.lax.dynamic_slice(cache, first, (1, rows, size, heads * width))
            return found.reshape(rows, size, heads, width).astype(jnp.float32)

        products = jnp.sum(queries[:, None] * part(k), axis=-1)
        scores = biased(products, width, lengths, slopes, entries)
        # The last block may overlap the one before it.
        return _extended(softmax, scores, part(v), entries >= number * size)

    nothing = (
        jnp.full((rows, heads), MASKED_SCORE, jnp.float32),
        jnp.zeros((rows, heads), jnp.float32),
        jnp.zeros((rows, heads, width), jnp.float32),
    )
    last = jnp.minimum(jnp.max(lengths), room - 1) // size
    _, total, mixed = jax.lax.fori_loop(0, last + 1, block, nothing)
    return mixed / total[..., None]


def _extended(
    softmax: Softmax,
    scores: Float32[Array, "R E N"],
    values: Float32[Array, "R E N H"],
    new: Bool[Array, " E"],
) -> Softmax:
    """Return the highest score, the sum of weights and the weighted values with more entries."""
    highest, total, mixed = softmax
    scores = jnp.where(new[None, :, None], scores, MASKED_SCORE)
    top = jnp.maximum(highest, jnp.max(scores, axis=1))
    weights = jnp.where(new[None, :, None], jnp.exp(scores - top[:, None]), 0.0)
    before = jnp.exp(highest - top)
    return (
        top,
        total * before + jnp.sum(weights, axis=1),
        mixed * before[..., None] + jnp.sum(weights[..., None] * values, axis=1),
    )


def biased(
    products: Float32[Array, "B S N"],
    width: int,
    lengths: Int[Array, " B"],
    slopes: Float[Array, " N"] | None,
    entries: Int[Array, " S"],
) -> Float32[Array, "B S N"]:
    """Return scores of these entries of the cache, scaled, with ALiBi's bias and masked.

    The newest query of row b is entry `lengths[b]`; later entries are masked.
    """
    distance = lengths[:, None] - entries[None, :]
    scores = products * width**-0.5
    if slopes is not None:
        scores = scores - slopes[None, None, :] * distance.astype(jnp.float32)[:, :, None]
    return jnp.where((distance >= 0)[:, :, None], scores, MASKED_SCORE)
