"""State of an engine's slots on the device, and its shardings."""

import dataclasses

import jax
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Int, UInt32

from teacherlm_jax import sharding
from teacherlm_jax.models.cache import KVCache

_AXES = {
    **dict.fromkeys(("k", "v"), ("layers", "batch", "length", "heads")),
    "lengths": ("batch",),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SlotState:
    """State of all slots.

    Attributes:
        cache: keys and values; `cache.lengths[b]` tokens of slot b have been read.
        tokens: prompt and text of each slot; the newest is `tokens[b, cache.lengths[b]]`, and is
            not in the cache yet.
        starts: tokens of each prompt, so that slot b has `cache.lengths[b] - starts[b] + 1` new
            tokens.
        limits: maximum number of new tokens of each text.
        keys: random key of each text.
        active: whether the text of the slot is unfinished.
        adapters: index of the adapter of each slot; None for a model without several.
    """

    cache: KVCache
    tokens: Int[Array, "B S"]
    starts: Int[Array, " B"]
    limits: Int[Array, " B"]
    keys: UInt32[Array, "B 2"]
    active: Bool[Array, " B"]
    adapters: Int[Array, " B"] | None = None


def placed(name: str, shape: jax.ShapeDtypeStruct, mesh: sharding.AnyMesh) -> jax.ShapeDtypeStruct:
    """Return the shape of a part of the slots with its sharding on a mesh."""
    spec = sharding.spec(
        _axes(name, len(shape.shape)), shape.shape, mesh, name, sharding.ACTIVATION_RULES
    )
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=NamedSharding(mesh, spec))


def constrained(slots: SlotState) -> SlotState:
    """Return the slots with their shardings: all but the cache is replicated, for the host."""

    def constrain(path, leaf):
        return sharding.constrain(leaf, _axes(path[-1].name, leaf.ndim))

    return jax.tree_util.tree_map_with_path(constrain, slots)


def _axes(name: str, dimensions: int) -> tuple[str, ...]:
    return _AXES.get(name, ("length",) * dimensions)
