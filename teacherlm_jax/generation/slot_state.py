"""State of an engine's slots on the device, and its shardings."""

import dataclasses

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jaxtyping import Array, Bool, Int, UInt32

from teacherlm_jax import sharding
from teacherlm_jax.models.cache import KVCache

_CACHE_AXES = {
    **dict.fromkeys(("k", "v"), ("layers", "batch", "length", "heads", "head_dim")),
    "lengths": ("batch",),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SlotState:
    """State of all slots. The first `counts[b]` of `written[b]` are the text so far of slot b."""

    cache: KVCache
    written: Int[Array, "B T"]
    counts: Int[Array, " B"]
    keys: UInt32[Array, "B 2"]
    active: Bool[Array, " B"]


def placed(
    name: str, shape: jax.ShapeDtypeStruct, mesh: Mesh | AbstractMesh
) -> jax.ShapeDtypeStruct:
    """Return the shape of a part of the slots with its sharding, replicated unless in the cache."""
    axes = _CACHE_AXES.get(name, ("length",) * len(shape.shape))
    spec = sharding.spec(axes, shape.shape, mesh, name, sharding.ACTIVATION_RULES)
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=NamedSharding(mesh, spec))


def constrained(cache: KVCache) -> KVCache:
    """Return the cache with the shardings of its axes."""
    return KVCache(
        **{
            name: sharding.constrain(getattr(cache, name), axes)
            for name, axes in _CACHE_AXES.items()
        }
    )
