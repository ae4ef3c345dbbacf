"""The rows of a batch that each process feeds, and their order on the mesh."""

from collections.abc import Collection, Mapping

import jax
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.errors import UserError


def process_rows(mesh: Mesh, rows: int) -> tuple[int, int]:
    """Return (index, count): this process feeds part `index` of `count` equal parts of a batch.

    Processes that differ only along `tensor` feed the same rows. `rows` must be divisible by
    `sharding.batch_shards(mesh)`. Raises UserError as `process_part` does.
    """
    return process_part(_rows_by_process(mesh, rows), jax.process_index())


def _rows_by_process(mesh: Mesh, rows: int) -> dict[int, set[int]]:
    """Return, by process, the first rows of the shards of a batch that its devices hold."""
    indices = sharding.batch_sharding(mesh).devices_indices_map((rows, 1))
    held: dict[int, set[int]] = {}
    for device in mesh.devices.flat:
        held.setdefault(device.process_index, set()).add(indices[device][0].start or 0)
    return held


def fed_order(mesh: Mesh, rows: int) -> list[int]:
    """Return, for each row of a batch on the mesh, its number in the order of feeding.

    The orders differ if the devices of a process are not adjacent in the mesh.
    """
    return order_of(_rows_by_process(mesh, rows), rows)


def order_of(held: Mapping[int, Collection[int]], rows: int) -> list[int]:
    """Return `fed_order` for the shards that processes hold (process -> their first rows)."""
    parts = sorted({tuple(sorted(pieces)) for pieces in held.values()})
    starts = [start for part in parts for start in part]
    size = rows // len(starts)
    order = [0] * rows
    for place, start in enumerate(starts):
        order[start : start + size] = range(place * size, (place + 1) * size)
    return order


def process_part(held: Mapping[int, Collection[int]], process: int) -> tuple[int, int]:
    """Return (index, count) of the part of a batch that a process feeds.

    `held` has the first rows of the shards of each process. Raises UserError if two processes share
    some of their shards but not all, or hold different numbers: then no parts are equal.
    """
    parts = sorted({tuple(sorted(pieces)) for pieces in held.values()})
    pieces = [piece for part in parts for piece in part]
    if len(set(pieces)) < len(pieces) or len(set(map(len, parts))) > 1:
        raise UserError(
            f"config.mesh: the batch is sharded unevenly over {len(held)} processes; choose a size "
            "of data*fsdp that is divisible by their number, or a size of tensor that divides the "
            "number of devices per process"
        )
    return parts.index(tuple(sorted(held[process]))), len(parts)
