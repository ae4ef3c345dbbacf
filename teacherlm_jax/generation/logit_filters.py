"""Filters of logits: pure functions that exclude tokens, which then have the score -inf."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int, Int32

BLOCK = 128  # tokens per block of `most_likely`; the width of a TPU's vector register
_BITS_OF_ONE = 0x3F800000  # of 1.0 in float32
_Bounds = tuple[Int32[Array, " B"], Int32[Array, " B"]]
_HALVINGS = 30  # bring an interval of _BITS_OF_ONE + 1 numbers down to one number


def most_likely(
    scores: Float32[Array, "B V"], count: int
) -> tuple[Float32[Array, "B K"], Int32[Array, "B K"]]:
    """Return the `count` best scores of each row in descending order, and their tokens.

    Of equal scores, the lowest tokens come first. In a large vocabulary only the `count` blocks
    with the highest maxima are searched. They contain all of the result, because a token of another
    block comes after the best token of each of these blocks.
    """
    rows, vocabulary = scores.shape
    count = min(count, vocabulary)
    blocks = -(-vocabulary // BLOCK)
    if blocks < 8 * count:
        return _top(scores, count)
    padding = ((0, 0), (0, blocks * BLOCK - vocabulary))
    scores = jnp.pad(scores, padding, constant_values=-jnp.inf).reshape(rows, blocks, BLOCK)
    # The blocks are sorted to keep the order of equal scores.
    best = jnp.sort(_top(jnp.max(scores, axis=-1), count)[1], axis=-1)
    candidates = jnp.take_along_axis(scores, best[:, :, None], axis=1)
    highest, places = _top(candidates.reshape(rows, -1), count)
    block = jnp.take_along_axis(best, places // BLOCK, axis=1)
    return highest, block * BLOCK + places % BLOCK


def _top(
    scores: Float32[Array, "B W"], count: int
) -> tuple[Float32[Array, "B K"], Int32[Array, "B K"]]:
    """Return `jax.lax.top_k` with 0 and -0, which it orders, as equal scores."""
    highest, places = jax.lax.top_k(jnp.where(scores == 0, 0.0, scores), count)
    return highest, places


def keep_sorted_nucleus(scores: Float32[Array, "B K"], top_p: float) -> Float32[Array, "B K"]:
    """Exclude scores after the first ones that together have the probability `top_p`.

    Args:
        scores: of each row, in descending order.
        top_p: probability to reach, below 1.
    """
    likelihoods = jax.nn.softmax(scores, axis=-1)
    before = jnp.cumsum(likelihoods, axis=-1) - likelihoods
    return jnp.where(before < top_p, scores, -jnp.inf)


def keep_nucleus(scores: Float32[Array, "B V"], top_p: float) -> Float32[Array, "B V"]:
    """Keep the smallest set of most likely tokens that has the probability `top_p`, below 1.

    Of equally likely tokens at the threshold, the lowest ones are kept. Nothing is sorted: the
    threshold is the largest float32 whose tokens, those at least as likely, reach `top_p`. It is
    found by bisection of its bits. Sums are rounded to float32.
    """
    weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    bits = jax.lax.bitcast_convert_type(weights, jnp.int32)  # ordered as the weights, all >= 0
    target = top_p * jnp.sum(weights, axis=-1)

    def halve(_: Int[Array, ""], bounds: _Bounds) -> _Bounds:
        reaching, missing = bounds
        middle = reaching + (missing - reaching) // 2
        reached = _sum_where(bits >= middle[:, None], weights) >= target
        return jnp.where(reached, middle, reaching), jnp.where(reached, missing, middle)

    lowest = jnp.zeros(len(scores), jnp.int32)
    bounds = (lowest, jnp.full_like(lowest, _BITS_OF_ONE + 1))
    threshold = jax.lax.fori_loop(0, _HALVINGS, halve, bounds)[0]
    above, ties = bits > threshold[:, None], bits == threshold[:, None]
    each = jax.lax.bitcast_convert_type(threshold, jnp.float32)
    each = jnp.maximum(each, jnp.finfo(jnp.float32).tiny)
    needed = jnp.ceil((target - _sum_where(above, weights)) / each)  # of the ties
    needed = jnp.clip(needed, 1, scores.shape[1]).astype(jnp.int32)
    kept = above | (ties & (jnp.cumsum(ties, axis=-1) <= needed[:, None]))
    return jnp.where(kept, scores, -jnp.inf)


def _sum_where(chosen: Bool[Array, "B V"], weights: Float32[Array, "B V"]) -> Float32[Array, " B"]:
    return jnp.sum(weights, axis=-1, where=chosen)
