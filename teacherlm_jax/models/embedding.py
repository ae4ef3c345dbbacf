"""Lookup of ids in a table that is sharded over a mesh."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int, Shaped

from teacherlm_jax import sharding


def look_up(
    table: Shaped[Array, "V E"],
    ids: Int[Array, "B T"],
    axes: Sequence[str],
    dtype: DTypeLike,
    scale: Float32[Array, "V 1"] | None = None,
) -> Float[Array, "B T E"]:
    """Return the rows `ids` of `table`, whose logical axes are `axes`, in `dtype`.

    A table of int8 has a `scale` for each row; only the rows that are returned are dequantized.

    On the mesh in context the table is not moved. Each device looks up all ids of its `fsdp` group
    in its own shard, and an all-to-all within the group then exchanges columns for rows. This moves
    as many bytes as the result has; the compiler alone would gather the whole batch on every
    device. An id out of range gives NaN if the rows of the table are not sharded.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return _taken(table, scale, ids).astype(dtype)
    by_row, by_width = (sharding.RULES[axis] for axis in axes)
    rules = sharding.ACTIVATION_RULES
    batch = sharding.spec(("batch", "length"), ids.shape, mesh, "tokens", rules)
    found = sharding.spec(("batch", "length", "embed"), (*ids.shape, 1), mesh, "embedded", rules)
    of_scale = jax.sharding.PartitionSpec(sharding.RULES[axes[0]] or None)
    return jax.shard_map(
        functools.partial(_on_device, by_row=by_row, by_width=by_width, dtype=dtype),
        in_specs=(sharding.spec(axes, table.shape, mesh, "embedding"), of_scale, batch),
        out_specs=found,
    )(table, scale, ids)


def _on_device(table, scale, ids, *, by_row, by_width, dtype):
    if by_width:
        ids = jax.lax.all_gather(ids, by_width, tiled=True)
    if by_row:
        ids = ids - jax.lax.axis_index(by_row) * len(table)
        here = (ids >= 0) & (ids < len(table))
        rows = jnp.where(here[..., None], _taken(table, scale, jnp.where(here, ids, 0)), 0)
        rows = jax.lax.psum(rows.astype(dtype), by_row)
    else:
        rows = _taken(table, scale, ids).astype(dtype)
    if by_width:
        rows = jax.lax.all_to_all(rows, by_width, split_axis=0, concat_axis=2, tiled=True)
    return rows


def _taken(table, scale, ids):
    rows = jnp.take(table, ids, axis=0, mode="fill")
    if scale is None:
        return rows
    return rows.astype(scale.dtype) * jnp.take(scale, ids, axis=0, mode="fill")
