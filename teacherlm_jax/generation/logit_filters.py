"""Filters of logits: pure functions that exclude tokens or change their scores.

Excluded tokens have the score -inf. Filters that depend on the text so far take `tokens` and
`lengths`: the history of row b, its prompt and text so far, is `tokens[b, :lengths[b]]`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int, Int32

BLOCK = 128  # tokens per block of `most_likely`; the width of a TPU's vector register
_BITS_OF_ONE = 0x3F800000  # of 1.0 in float32
_Bounds = tuple[Int32[Array, " B"], Int32[Array, " B"]]
_HALVINGS = 30  # bring an interval of _BITS_OF_ONE + 1 numbers down to one number


def penalize_repetition(
    scores: Float32[Array, "B V"],
    tokens: Int[Array, "B S"],
    lengths: Int[Array, " B"],
    penalty: float,
) -> Float32[Array, "B V"]:
    """Divide positive scores of tokens in the history by `penalty`, and multiply negative ones.

    A token that occurs several times is penalized once (arXiv 1909.05858, section 4.1).
    """
    in_history = jnp.arange(tokens.shape[1])[None] < lengths[:, None]
    at = _places(scores, tokens, in_history)
    seen = scores.at[at].get(mode="fill", fill_value=0)
    # Repeated indices write the same value.
    return scores.at[at].set(jnp.where(seen < 0, seen * penalty, seen / penalty), mode="drop")


def exclude_repeated_ngrams(
    scores: Float32[Array, "B V"],
    tokens: Int[Array, "B S"],
    lengths: Int[Array, " B"],
    size: int,
) -> Float32[Array, "B V"]:
    """Exclude tokens that would complete an n-gram of `size` tokens that the history contains."""
    windows = tokens.shape[1] - size + 1
    if windows < 1:
        return scores

    def compare(offset: Int[Array, ""], equal: Bool[Array, "B W"]) -> Bool[Array, "B W"]:
        # In a history shorter than an n-gram this index is wrong, but no window is complete.
        recent = jnp.take_along_axis(tokens, lengths[:, None] + (offset - size + 1), axis=1)
        return equal & (jax.lax.dynamic_slice_in_dim(tokens, offset, windows, axis=1) == recent)

    # A window repeats the latest tokens if its first size - 1 tokens are equal to them.
    complete = jnp.arange(size - 1, tokens.shape[1])[None] < lengths[:, None]
    repeated = jax.lax.fori_loop(0, size - 1, compare, complete)
    return scores.at[_places(scores, tokens[:, size - 1 :], repeated)].set(-jnp.inf, mode="drop")


def exclude_early_end(
    scores: Float32[Array, "B V"], counters: Int[Array, " B"], eos_id: int, minimum: int
) -> Float32[Array, "B V"]:
    """Exclude the token that ends a text from the first `minimum` tokens of the text."""
    is_end = jnp.arange(scores.shape[1]) == eos_id
    return jnp.where(is_end[None] & (counters < minimum)[:, None], -jnp.inf, scores)


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


def exclude_unlikely(scores: Float32[Array, "B K"], min_p: float) -> Float32[Array, "B K"]:
    """Exclude tokens less likely than `min_p` times the most likely one (arXiv 2407.01082)."""
    relative = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    return jnp.where(relative < min_p, -jnp.inf, scores)


def _places(
    scores: Float32[Array, "B V"], tokens: Int[Array, "B W"], chosen: Bool[Array, "B W"]
) -> tuple[Int[Array, "B 1"], Int[Array, "B W"]]:
    """Return indices of the chosen tokens in `scores`; those of the others are out of bounds."""
    rows, vocabulary = scores.shape
    return jnp.arange(rows)[:, None], jnp.where(chosen, tokens, vocabulary)


def _sum_where(chosen: Bool[Array, "B V"], weights: Float32[Array, "B V"]) -> Float32[Array, " B"]:
    return jnp.sum(weights, axis=-1, where=chosen)
