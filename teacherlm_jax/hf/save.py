"""Our parameters as sharded safetensors of Hugging Face's layout, written tensor by tensor."""

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import tensor_names
from teacherlm_jax.hf.lazy_tensor import DTYPES
from teacherlm_jax.hf.safetensors import Writer
from teacherlm_jax.hf.tensor_names import Piece
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import files

_BLOCK = 64 << 20  # bytes converted and written at a time


def save(
    params: Tree,
    config: ModelConfig,
    folder: Path,
    *,
    dtype: str,
    shard_bytes: int,
    told: Callable[[], None],
) -> None:
    """Writes the parameters (all on this process's devices) in `dtype`, a key of stored.DTYPES.

    Files hold at most `shard_bytes` of tensors each, or one tensor that is larger; more than one
    get an index. `told` is called when a tensor is written. Raises UserError, naming the tensor,
    when a value is too large for `dtype`.
    """
    arrays = dict(named_leaves(params))
    shards = _shards(config, DTYPES[dtype].itemsize, shard_bytes)
    placed: dict[str, str] = {}
    for number, pieces in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        shapes = {_name(config, piece): piece.theirs for piece in pieces}
        with Writer(folder / file, shapes, dtype) as writer:
            for piece in pieces:
                theirs = piece.to_theirs(_fetched(arrays[piece.parameter], piece))
                for block in _blocks(theirs, DTYPES[dtype], _name(config, piece)):
                    writer.write(block)
                told()
        placed |= dict.fromkeys(shapes, file)
    if len(shards) > 1:
        total = DTYPES[dtype].itemsize * sum(math.prod(p.theirs) for ps in shards for p in ps)
        index = {"metadata": {"total_size": total}, "weight_map": placed}
        files.write_json(folder / "model.safetensors.index.json", index)


def _shards(config: ModelConfig, itemsize: int, limit: int) -> list[list[Piece]]:
    """The pieces in order, parted before the one with which a file would be too large."""
    shards: list[list[Piece]] = []
    room = 0
    for piece in tensor_names.pieces(config):
        nbytes = math.prod(piece.theirs) * itemsize
        if not shards or nbytes > room:
            shards.append([])
            room = limit
        shards[-1].append(piece)
        room -= nbytes
    return shards


def _name(config: ModelConfig, piece: Piece) -> str:
    prefix = "" if piece.name == tensor_names.HEAD else tensor_names.PREFIXES[config.family]
    return prefix + piece.name


def _fetched(array: Array, piece: Piece) -> np.ndarray:
    """The piece on the host: without a copy where one device of the host holds it whole."""
    if piece.layer is not None:
        array = _piece(array, piece.layer, piece.start, piece.shape)
    shards = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    if len(shards) == 1:
        return np.asarray(shards[0].data)
    whole = np.empty(array.shape, array.dtype)
    for shard in shards:
        whole[shard.index] = shard.data
    return whole


@functools.partial(jax.jit, static_argnums=3)
def _piece(
    stack: Array, layer: Int[Array, ""], start: Int[Array, ""], shape: tuple[int, ...]
) -> Array:
    place: list[Any] = [layer, *[0] * (len(shape) - 1), start]
    return jax.lax.dynamic_slice(stack, place, (1, *shape))[0]


def _blocks(theirs: np.ndarray, dtype: np.dtype, name: str) -> Iterator[np.ndarray]:
    """The tensor in `dtype`, some of its rows at a time."""
    rows = max(1, _BLOCK * len(theirs) // max(1, theirs.nbytes))
    for start in range(0, len(theirs), rows):
        block = theirs[start : start + rows]
        with np.errstate(over="ignore"):  # told below, by name
            converted = np.ascontiguousarray(block).astype(dtype, copy=False)
        if dtype != theirs.dtype and not np.array_equal(np.isfinite(converted), np.isfinite(block)):
            largest = np.max(np.abs(block), initial=0, where=np.isfinite(block))
            raise UserError(
                f"config.dtype={dtype}: {name} has values up to {largest:.4g}, which it cannot "
                "hold; choose bfloat16 or float32"
            )
        yield converted
