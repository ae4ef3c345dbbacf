"""Their tensors into our parameters, one after the other, straight to their places on the mesh."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Int

from teacherlm_jax.fingerprint import named_leaves
from teacherlm_jax.hf.names import Piece
from teacherlm_jax.hf.stored import Stored
from teacherlm_jax.sharding import Tree


def load(pairs: Iterable[tuple[Piece, Stored]], abstract: Tree, told: Callable[[], None]) -> Tree:
    """The parameters of a model, with the shapes, dtypes and shardings of `abstract`.

    `pairs` must be all of its pieces (see `check.matched`); `told` is called when one is in place.
    A tensor is read device by device, the part that each device needs; beside the parameters the
    host holds such a part, and what takes it to the device.
    """
    wanted = dict(named_leaves(abstract))
    found: dict[str, Array] = {}
    for piece, tensor in pairs:
        leaf = wanted[piece.parameter]
        if piece.layer is None:
            found[piece.parameter] = _placed(piece, tensor, leaf.dtype, leaf.sharding)
        else:
            if piece.parameter not in found:
                found[piece.parameter] = _zeros(leaf.shape, leaf.dtype, leaf.sharding)
            flat = NamedSharding(leaf.sharding.mesh, PartitionSpec(*leaf.sharding.spec[1:]))
            part = _placed(piece, tensor, leaf.dtype, flat)
            found[piece.parameter] = _filled(
                found[piece.parameter], part, piece.layer, piece.start, leaf.sharding
            )
        jax.block_until_ready(found[piece.parameter])  # so that the next waits until this is freed
        told()
    return jax.tree.unflatten(jax.tree.structure(abstract), [found[name] for name in wanted])


def _placed(piece: Piece, tensor: Stored, dtype: np.dtype, sharding: Sharding) -> Array:
    """The piece on the mesh; devices that hold the same part of it share one reading."""
    holders: dict[tuple[tuple[int, int], ...], list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(piece.shape).items():
        assert index is not None  # only so for arrays without axes, which no parameter is
        pairs = zip(index, piece.shape, strict=True)  # slices cannot be keys before Python 3.12
        bounds = tuple(cut.indices(size)[:2] for cut, size in pairs)
        holders.setdefault(bounds, []).append(device)
    parts: list[Array] = []
    for bounds, devices in holders.items():
        index = tuple(slice(*pair) for pair in bounds)
        part = piece.to_ours(tensor.read(piece.their_index(index), dtype), index)
        parts += jax.block_until_ready([jax.device_put(part, device) for device in devices])
    return jax.make_array_from_single_device_arrays(piece.shape, sharding, parts)


def _zeros(shape: tuple[int, ...], dtype: np.dtype, sharding: Sharding) -> Array:
    return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)()


@functools.partial(jax.jit, donate_argnums=0, static_argnums=4)
def _filled(
    stack: Array, part: Array, layer: Int[Array, ""], start: Int[Array, ""], sharding: Sharding
) -> Array:
    """`stack`, which is used up, with `part` in its layer; one compilation for all its layers."""
    place: list[Any] = [layer, *[0] * (part.ndim - 1), start]
    stack = jax.lax.dynamic_update_slice(stack, part[None], place)
    return jax.lax.with_sharding_constraint(stack, sharding)
