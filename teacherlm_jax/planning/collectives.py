"""Communication between chips: bytes and mesh axes of a program's collective operations."""

import math
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from teacherlm_jax.planning.hlo import Computation, Instruction

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
_STARTER = "AsyncCollectiveStart"
_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"mesh\[(.*?)\](?:,\s*device_ids=\((.*?)\))?\s*\{(.*?)\}")
_IDS = re.compile(r"\[([\d,]+)\](?:T\(([\d,]+)\))?")


def bytes_sent(
    instruction: Instruction, computation: Computation, mesh: Mapping[str, int]
) -> tuple[str, str, float] | None:
    """Return the kind, mesh axes and bytes sent per chip of a collective; None if it is not one.

    The bytes are those of a ring algorithm on n chips, which is optimal on a torus: (n - 1) / n of
    the whole array for all-gather, reduce-scatter and all-to-all, twice that for all-reduce, and
    the whole array for collective-permute. `mesh` maps the mesh axes, in order, to their sizes.
    Several axes are joined by "+".
    """
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS or _continues_chunk(instruction, computation):
        return None
    if kind == "collective-permute":
        pairs = re.findall(r"\{(\d+),(\d+)\}", instruction.attribute("source_target_pairs"))
        moves = np.array([list(map(int, pair)) for pair in pairs])
        return kind, _axes(moves, mesh), float(_input(instruction, computation))
    groups = _groups(instruction, mesh)
    n = groups.shape[1]
    if kind == "all-reduce" and "all-reduce-scatter" in computation.name:
        kind = "reduce-scatter"  # XLA fuses an all-reduce and a slice under this name
    whole = _output(instruction) if kind == "all-gather" else _input(instruction, computation)
    passes = 2 if kind == "all-reduce" else 1
    return kind, _axes(groups, mesh), passes * whole * (n - 1) / n


def is_chunked(instruction: Instruction) -> bool:
    """Return whether XLA split this collective into chunks that overlap with other work."""
    return "chain_id=" in instruction.attribute("frontend_attributes")


def _continues_chunk(instruction: Instruction, computation: Computation) -> bool:
    """Return whether this is a later chunk of a collective; only the first one has a starter."""
    readers = computation.users(instruction.name)
    return is_chunked(instruction) and not any(_STARTER in reader.attributes for reader in readers)


def _input(instruction: Instruction, computation: Computation) -> int:
    return sum(computation.instructions[name].bytes for name in instruction.operands)


def _output(instruction: Instruction) -> int:
    """Return the bytes of the result; the tuple of a `-start` also begins with its operands."""
    if not instruction.opcode.endswith("-start"):
        return instruction.bytes
    return max(array.bytes for array in instruction.arrays)


def _groups(instruction: Instruction, mesh: Mapping[str, int]) -> Int[np.ndarray, "groups chips"]:
    """Return the replica groups, one per row; chips are numbered by position in the mesh."""
    text = instruction.attributes.partition("replica_groups=")[2]
    if match := _MESH.match(text):
        return _of_mesh(*match.groups())
    if match := _IOTA.match(text):
        rows = int(match[1].split(",")[0])
        return _places(match[2], match[3]).reshape(rows, -1)
    listed = re.findall(r"\{([\d,]+)\}", instruction.attribute("replica_groups"))
    if not listed:  # one group of all chips
        return np.arange(math.prod(mesh.values()))[None]
    return np.array([_numbers(row) for row in listed])


def _of_mesh(axes: str, ids: str | None, together: str) -> Int[np.ndarray, "groups chips"]:
    """Return groups that are written as `mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}`."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']*)'=(\d+)", axes)}
    names = re.findall(r"'([^']*)'", together)
    places = np.arange(math.prod(sizes.values()))
    if match := _IDS.match(ids or ""):
        places = _places(*match.groups())
    elif ids:
        places = np.array(_numbers(ids))
    places = places.reshape(tuple(sizes.values()))
    grouped = [list(sizes).index(name) for name in names]
    places = np.moveaxis(places, grouped, range(-len(names), 0))
    return places.reshape(-1, math.prod(sizes[name] for name in names))


def _places(sizes: str, order: str | None) -> Int[np.ndarray, "..."]:
    """Return 0, 1, 2, … as an array of this shape, transposed to this order of axes."""
    shape = _numbers(sizes)
    places = np.arange(math.prod(shape)).reshape(shape)
    return places.transpose(_numbers(order)) if order else places


def _numbers(text: str) -> list[int]:
    return list(map(int, text.split(",")))


def _axes(groups: Int[np.ndarray, "groups chips"], mesh: Mapping[str, int]) -> str:
    """Return the mesh axes along which the chips of a group differ, such as "data+fsdp"."""
    places = np.unravel_index(groups, tuple(mesh.values()))
    differ = (np.any(place != place[:, :1]) for place in places)
    return "+".join(name for name, is_different in zip(mesh, differ, strict=True) if is_different)
