"""The key/value cache that decoding reads and extends."""

import dataclasses

import jax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Keys and values of every layer for a batch of texts; a pytree, its first axis is the layer.

    Row b's real entries are the first `lengths[b]` of its S; what lies behind them is never read.
    An entry's index is its position in the text.
    """

    k: Float[Array, "L B S N H"]
    v: Float[Array, "L B S N H"]
    lengths: Int[Array, "B"]
