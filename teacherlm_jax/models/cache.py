"""The keys and values that generation keeps: of all slots, and of prompts that were just read."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Keys and values of every layer for a batch of texts, as a pytree; the layer axis is first.

    All heads are in one axis, D = N * H, because a TPU pads the last axis to a multiple of 128.
    The first `lengths[b]` entries of row b are valid; the others are ignored. An entry's index is
    its position in the text.
    """

    k: Float[Array, "L B S D"]
    v: Float[Array, "L B S D"]
    lengths: Int[Array, " B"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PromptKeys:
    """Keys and values of every layer for G prefixes and the K continuations of each."""

    prefix_k: Float[Array, "L G T D"]
    prefix_v: Float[Array, "L G T D"]
    k: Float[Array, "L G K R D"]
    v: Float[Array, "L G K R D"]


def store_prompts(
    cache: KVCache,
    keys: PromptKeys,
    rows: Int[Array, "G K"],
    prefix_lengths: Int[Array, " G"],
    suffix_lengths: Int[Array, "G K"],
) -> KVCache:
    """Return the cache with prompts in its `rows`; rows that do not exist are dropped.

    Args:
        cache: the cache.
        keys: keys and values of the prompts, see `Decoder.read_prompts`.
        rows: row of the cache for each prompt; a number beyond the last row drops the prompt.
        prefix_lengths: tokens of the shared prefixes.
        suffix_lengths: tokens of each prompt after its prefix.
    """
    (layers, groups, longest, _), (*_, steps, width) = keys.prefix_k.shape, keys.k.shape
    room, targets = min(longest, cache.k.shape[2]), rows.reshape(-1)
    step = jnp.arange(steps)[None, None]
    after = prefix_lengths[:, None, None] + step
    entries = jnp.where(step < suffix_lengths[..., None], after, cache.k.shape[2])
    entries = entries.reshape(-1, steps)  # those beyond the cache are dropped

    def stored(cached, prefix, suffix):
        prefix = jnp.repeat(prefix[:, :, :room], len(targets) // groups, axis=1)
        cached = cached.at[:, targets, :room].set(prefix, mode="drop")
        suffix = suffix.reshape(layers, -1, steps, width)
        return cached.at[:, targets[:, None], entries].set(suffix, mode="drop")

    lengths = (prefix_lengths[:, None] + suffix_lengths).reshape(-1)
    return KVCache(
        stored(cache.k, keys.prefix_k, keys.k),
        stored(cache.v, keys.prefix_v, keys.v),
        cache.lengths.at[targets].set(lengths, mode="drop"),
    )
