"""Their tensors into our parameters, one after the other, straight to their places on the mesh."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Int

from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.hf.lazy_tensor import Stored
from teacherlm_jax.hf.tensor_names import Piece
from teacherlm_jax.sharding import Tree

Bounds = tuple[tuple[int, int], ...]  # start and end on each axis


def load(pairs: Iterable[tuple[Piece, Stored]], abstract: Tree, told: Callable[[], None]) -> Tree:
    """The parameters of a model, with the shapes, dtypes and shardings of `abstract`.

    `pairs` must be all of its pieces (see `check.matched`); `told` is called when one is in place.
    Of a tensor, the rows that some devices need are read once and handed to them cut by cut; beside
    the parameters the host holds these rows, and what takes a cut to its device.
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
    holders: dict[Bounds, list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(piece.shape).items():
        assert index is not None  # only so for arrays without axes, which no parameter is
        pairs = zip(index, piece.shape, strict=True)  # slices cannot be keys before Python 3.12
        bounds = tuple(cut.indices(size)[:2] for cut, size in pairs)
        holders.setdefault(bounds, []).append(device)
    arrays: list[Array] = []
    for bounds, part in _parts(piece, tensor, dtype, holders):
        ours = piece.to_ours(part, tuple(slice(*pair) for pair in bounds))
        placed = [jax.device_put(ours, device) for device in holders[bounds]]
        arrays += jax.block_until_ready(placed)
    return jax.make_array_from_single_device_arrays(piece.shape, sharding, arrays)


def _parts(
    piece: Piece, tensor: Stored, dtype: np.dtype, wanted: Iterable[Bounds]
) -> Iterator[tuple[Bounds, np.ndarray]]:
    """The wanted parts as cuts of their tensor, whose rows are read once for all of them."""
    by_rows: dict[tuple[int, int], list[tuple[Bounds, tuple[slice, ...]]]] = {}
    for index in wanted:
        rows, *columns = piece.their_index(tuple(slice(*pair) for pair in index))
        by_rows.setdefault((rows.start, rows.stop), []).append((index, tuple(columns)))
    for (start, stop), parts in by_rows.items():
        cuts = tensor.read_columns(slice(start, stop), [columns for _, columns in parts], dtype)
        for index, _ in parts:
            yield index, cuts.pop(0)  # nothing here holds it on


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
