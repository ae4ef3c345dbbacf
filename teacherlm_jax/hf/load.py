"""Tensors of a Hugging Face folder into our parameters, each straight to its place on the mesh."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Int, Shaped

from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.hf.lazy_tensor import StoredTensor
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.models import int8
from teacherlm_jax.sharding import Tree

Bounds = tuple[tuple[int, int], ...]  # start and stop on each axis


def load(
    tensors: Iterable[tuple[TensorSlot, StoredTensor]],
    abstract: Tree,
    on_tensor: Callable[[], None],
) -> Tree:
    """Return the parameters of a model with the shapes, dtypes and shardings of `abstract`.

    `tensors` must fill all slots of the model (see `tensor_check.matched`); `on_tensor` is called
    after each. The rows of a tensor that some devices need are read once and copied to them part
    by part; beside the parameters the host holds these rows, and what takes a part to its device.
    A parameter that has a scale in `abstract` is quantized tensor by tensor.
    """
    wanted = dict(named_leaves(abstract))
    found: dict[str, Array] = {}
    for slot, tensor in tensors:
        for name, part in _stored_parts(slot, tensor, wanted).items():
            if slot.layer is None:
                found[name] = part
                continue
            leaf = wanted[name]
            if name not in found:
                found[name] = _zeros(leaf.shape, leaf.dtype, leaf.sharding)
            found[name] = _filled(found[name], part, slot.layer, slot.start, leaf.sharding)
            jax.block_until_ready(found[name])  # so that host memory is freed before the next
        on_tensor()
    return jax.tree.unflatten(jax.tree.structure(abstract), [found[name] for name in wanted])


def _stored_parts(
    slot: TensorSlot, tensor: StoredTensor, wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, Shaped[Array, "..."]]:
    """Return the slot on the mesh by the parameter's name; an int8 one also has its scale."""
    name, of_scale = slot.parameter, slot.parameter + int8.SCALE
    sharding = _of_slot(slot, wanted[name])
    if of_scale not in wanted:
        return {name: _placed(slot, tensor, wanted[name].dtype, sharding)}
    scale = wanted[of_scale]
    channels = scale.shape[slot.layer is not None :]
    shape = [1 if one == 1 else size for one, size in zip(channels, slot.shape, strict=True)]
    whole = _placed(slot, tensor, np.dtype(np.float32), sharding)
    parts = int8.quantize(whole, tuple(shape), sharding, _of_slot(slot, scale))
    return dict(zip((name, of_scale), parts, strict=True))


def _of_slot(slot: TensorSlot, leaf: jax.ShapeDtypeStruct) -> Sharding:
    """Return the sharding of a parameter, without the axis of layers if the slot is in a layer."""
    assert isinstance(leaf.sharding, NamedSharding)
    spec = leaf.sharding.spec[slot.layer is not None :]
    return NamedSharding(leaf.sharding.mesh, PartitionSpec(*spec))


def _placed(
    slot: TensorSlot, tensor: StoredTensor, dtype: np.dtype, sharding: Sharding
) -> Shaped[Array, "..."]:
    """Return the slot on the mesh; devices that hold the same part share one read."""
    holders: dict[Bounds, list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(slot.shape).items():
        assert index is not None  # None occurs only for arrays without axes
        pairs = zip(index, slot.shape, strict=True)  # slices cannot be keys before Python 3.12
        bounds = tuple(cut.indices(size)[:2] for cut, size in pairs)
        holders.setdefault(bounds, []).append(device)
    arrays: list[Array] = []
    for bounds, part in _parts(slot, tensor, dtype, holders):
        ours = slot.from_stored(part, tuple(slice(*pair) for pair in bounds))
        placed = [jax.device_put(ours, device) for device in holders[bounds]]
        arrays += jax.block_until_ready(placed)
    return jax.make_array_from_single_device_arrays(slot.shape, sharding, arrays)


def _parts(
    slot: TensorSlot, tensor: StoredTensor, dtype: np.dtype, wanted: Iterable[Bounds]
) -> Iterator[tuple[Bounds, Shaped[np.ndarray, "..."]]]:
    """Yield the wanted parts of a tensor, whose rows are read once for all of them."""
    by_rows: dict[tuple[int, int], list[tuple[Bounds, tuple[slice, ...]]]] = {}
    for index in wanted:
        rows, *columns = slot.stored_index(tuple(slice(*pair) for pair in index))
        by_rows.setdefault((rows.start, rows.stop), []).append((index, tuple(columns)))
    for (start, stop), parts in by_rows.items():
        cuts = tensor.read_columns(slice(start, stop), [columns for _, columns in parts], dtype)
        for index, _ in parts:
            yield index, cuts.pop(0)  # so that the caller holds the only reference


def _zeros(shape: tuple[int, ...], dtype: np.dtype, sharding: Sharding) -> Shaped[Array, "..."]:
    return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)()


@functools.partial(jax.jit, donate_argnums=0, static_argnums=4)
def _filled(
    stack: Shaped[Array, "L ..."],
    part: Shaped[Array, "..."],
    layer: Int[Array, ""] | int,
    start: Int[Array, ""] | int,
    sharding: Sharding,
) -> Shaped[Array, "L ..."]:
    """Return `stack` (donated) with `part` in its layer; compiled once for all layers."""
    place: list[Any] = [layer, *[0] * (part.ndim - 1), start]
    stack = jax.lax.dynamic_update_slice(stack, part[None], place)
    return jax.lax.with_sharding_constraint(stack, sharding)
