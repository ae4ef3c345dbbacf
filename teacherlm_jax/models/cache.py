"""The key/value cache that decoding reads and extends."""

import dataclasses

import jax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Keys and values of every layer for a batch of texts, as a pytree; the layer axis is first.

    The first `lengths[b]` entries of row b are valid; the others are ignored. An entry's index is
    its position in the text.
    """

    k: Float[Array, "L B S N H"]
    v: Float[Array, "L B S N H"]
    lengths: Int[Array, " B"]
