"""What chips send each other: bytes and mesh axes of a program's collective operations."""

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


def sent(
    each: Instruction, around: Computation, mesh: Mapping[str, int]
) -> tuple[str, str, float] | None:
    """Kind, mesh axes and bytes that a chip sends for an instruction; None for any other one.

    A ring of n chips is assumed, which on a torus is as good as it gets: (n - 1) / n of the whole
    array for a gather, a scatter and an exchange, twice that for an all-reduce, and the array
    itself for a permutation. `mesh` has the mesh's axes and sizes in their order; axes are joined
    by "+" where several take part.
    """
    kind = each.opcode.removesuffix("-start")
    if kind not in KINDS or _goes_on(each, around):
        return None
    if kind == "collective-permute":
        pairs = re.findall(r"\{(\d+),(\d+)\}", each.attribute("source_target_pairs"))
        moves = np.array([list(map(int, pair)) for pair in pairs])
        return kind, _axes(moves, mesh), float(_input(each, around))
    groups = _groups(each, mesh)
    n = groups.shape[1]
    if kind == "all-reduce" and "all-reduce-scatter" in around.name:
        kind = "reduce-scatter"  # XLA's name for the two in one, of which it takes only a piece
    whole = _output(each) if kind == "all-gather" else _input(each, around)
    passes = 2 if kind == "all-reduce" else 1
    return kind, _axes(groups, mesh), passes * whole * (n - 1) / n


def in_pieces(each: Instruction) -> bool:
    """Whether this collective is done beside other work, once for each piece of which it stands."""
    return "chain_id=" in each.attribute("frontend_attributes")


def _goes_on(each: Instruction, around: Computation) -> bool:
    """Whether it goes on with what an earlier piece began: the first one is read by a starter."""
    readers = around.users(each.name)
    return in_pieces(each) and not any(_STARTER in reader.attributes for reader in readers)


def _input(each: Instruction, around: Computation) -> int:
    return sum(around.instructions[name].bytes for name in each.operands)


def _output(each: Instruction) -> int:
    """Bytes of the result; a start gives its operands as well, in front."""
    if not each.opcode.endswith("-start"):
        return each.bytes
    return max(array.bytes for array in each.arrays)


def _groups(each: Instruction, mesh: Mapping[str, int]) -> Int[np.ndarray, "groups chips"]:
    """The chips that work together, one group a row, by their places in the mesh."""
    text = each.attributes.partition("replica_groups=")[2]
    if found := _MESH.match(text):
        return _of_mesh(*found.groups())
    if found := _IOTA.match(text):
        rows = int(found[1].split(",")[0])
        return _places(found[2], found[3]).reshape(rows, -1)
    listed = re.findall(r"\{([\d,]+)\}", each.attribute("replica_groups"))
    if not listed:  # all of them
        return np.arange(math.prod(mesh.values()))[None]
    return np.array([_numbers(row) for row in listed])


def _of_mesh(axes: str, ids: str | None, together: str) -> Int[np.ndarray, "groups chips"]:
    """Groups written as `mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}`."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']*)'=(\d+)", axes)}
    names = re.findall(r"'([^']*)'", together)
    places = np.arange(math.prod(sizes.values()))
    if found := _IDS.match(ids or ""):
        places = _places(*found.groups())
    elif ids:
        places = np.array(_numbers(ids))
    places = places.reshape(tuple(sizes.values()))
    behind = [list(sizes).index(name) for name in names]
    places = np.moveaxis(places, behind, range(-len(names), 0))
    return places.reshape(-1, math.prod(sizes[name] for name in names))


def _places(sizes: str, order: str | None) -> Int[np.ndarray, "..."]:
    """0, 1, 2, … in an array of these sizes, its axes then taken in this order."""
    shape = _numbers(sizes)
    places = np.arange(math.prod(shape)).reshape(shape)
    return places.transpose(_numbers(order)) if order else places


def _numbers(text: str) -> list[int]:
    return list(map(int, text.split(",")))


def _axes(groups: Int[np.ndarray, "groups chips"], mesh: Mapping[str, int]) -> str:
    """The mesh axes along which the chips of some group differ, such as "fsdp" or "data+fsdp"."""
    places = np.unravel_index(groups, tuple(mesh.values()))
    differ = (np.any(place != place[:, :1]) for place in places)
    return "+".join(name for name, each in zip(mesh, differ, strict=True) if each)
