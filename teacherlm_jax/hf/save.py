"""Parameters written as safetensors shards in the Hugging Face format, tensor by tensor."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Array, Int, Shaped

from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import lazy_tensor, tensor_names
from teacherlm_jax.hf.lazy_tensor import DTYPES
from teacherlm_jax.hf.safetensors import SafetensorsWriter
from teacherlm_jax.hf.tensor_names import TensorSlot
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import files


def save(
    params: Tree,
    config: ModelConfig,
    folder: epath.Path,
    *,
    dtype: str,
    shard_bytes: int,
    on_tensor: Callable[[], None],
) -> None:
    """Write the parameters (all on this process's devices) in `dtype`, a key of DTYPES.

    A file holds at most `shard_bytes` of tensors, or one larger tensor; several files get an
    index. `on_tensor` is called after each tensor. Raises UserError, naming the tensor,
    when a value is too large for `dtype`.
    """
    shards = [
        [(_name(config, slot), slot) for slot in slots]
        for slots in _shards(config, DTYPES[dtype].itemsize, shard_bytes)
    ]
    placed = write_tensors(params, shards, folder, "model", dtype, on_tensor)
    if len(shards) > 1:
        shapes = (slot.stored_shape for slots in shards for _, slot in slots)
        total = DTYPES[dtype].itemsize * sum(map(math.prod, shapes))
        index = {"metadata": {"total_size": total}, "weight_map": placed}
        files.write_json(folder / "model.safetensors.index.json", index)


def write_tensors(
    params: Tree,
    shards: Sequence[Sequence[tuple[str, TensorSlot]]],
    folder: epath.Path,
    stem: str,
    dtype: str,
    on_tensor: Callable[[], None],
) -> dict[str, str]:
    """Write the named slots of each shard to a file of its own; return the file of each name.

    The files are named after `stem`. See `save` for the other arguments and for errors.
    """
    arrays = dict(named_leaves(params))
    placed: dict[str, str] = {}
    for number, slots in enumerate(shards, start=1):
        file = f"{stem}.safetensors"
        if len(shards) > 1:
            file = f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
        shapes = {name: slot.stored_shape for name, slot in slots}
        with SafetensorsWriter(folder / file, shapes, dtype) as writer:
            for name, slot in slots:
                tensor = slot.to_stored(_fetched(arrays[slot.parameter], slot))
                for block in _blocks(tensor, DTYPES[dtype], name):
                    writer.write(block)
                on_tensor()
        placed |= dict.fromkeys(shapes, file)
    return placed


def _shards(config: ModelConfig, itemsize: int, limit: int) -> list[list[TensorSlot]]:
    """Return the slots in order, in groups that fit one file each."""
    shards: list[list[TensorSlot]] = []
    room = 0
    for slot in tensor_names.slots(config):
        nbytes = math.prod(slot.stored_shape) * itemsize
        if not shards or nbytes > room:
            shards.append([])
            room = limit
        shards[-1].append(slot)
        room -= nbytes
    return shards


def _name(config: ModelConfig, slot: TensorSlot) -> str:
    prefix = "" if slot.name == tensor_names.HEAD else tensor_names.PREFIXES[config.family]
    return prefix + slot.name


def _fetched(array: Shaped[Array, "..."], slot: TensorSlot) -> Shaped[np.ndarray, "..."]:
    """Return the slot on the host, without a copy when one of its devices holds all of it."""
    if slot.layer is not None:
        array = _piece(array, slot.layer, slot.start, slot.shape)
    shards = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    if len(shards) == 1:
        return np.asarray(shards[0].data)
    whole = np.empty(array.shape, array.dtype)
    for shard in shards:
        whole[shard.index] = shard.data
    return whole


@functools.partial(jax.jit, static_argnums=3)
def _piece(
    stack: Shaped[Array, "L ..."],
    layer: Int[Array, ""] | int,
    start: Int[Array, ""] | int,
    shape: tuple[int, ...],
) -> Shaped[Array, "..."]:
    place: list[Any] = [layer, *[0] * (len(shape) - 1), start]
    return jax.lax.dynamic_slice(stack, place, (1, *shape))[0]


def _blocks(
    tensor: Shaped[np.ndarray, "rows ..."], dtype: np.dtype, name: str
) -> Iterator[Shaped[np.ndarray, "block ..."]]:
    """Yield blocks of rows of the tensor in `dtype`."""
    rows = max(1, lazy_tensor.BLOCK_BYTES * len(tensor) // max(1, tensor.nbytes))
    for start in range(0, len(tensor), rows):
        block = tensor[start : start + rows]
        with np.errstate(over="ignore"):  # reported below, by name
            converted = np.ascontiguousarray(block).astype(dtype, copy=False)
        if dtype != tensor.dtype and not np.array_equal(np.isfinite(converted), np.isfinite(block)):
            largest = np.max(np.abs(block), initial=0, where=np.isfinite(block))
            raise UserError(
                f"config.dtype={dtype}: {name} has values up to {largest:.4g}, which it cannot "
                "hold; choose bfloat16 or float32"
            )
        yield converted
