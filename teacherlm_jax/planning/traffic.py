"""Bytes that one instruction moves between a chip's memory and its cores."""

from teacherlm_jax.planning.collectives import in_pieces
from teacherlm_jax.planning.hlo import Computation, Instruction, Module

# They name, or begin and end, what others do.
_FREE = frozenset(
    (
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "while",
        "conditional",
        "call",
        "after-all",
        "iota",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "copy-done",
        "async-done",
        "async-update",
        "all-gather-done",
        "all-reduce-done",
        "collective-permute-done",
    )
)
_PIECES = ("dynamic-slice", "slice", "gather")


def moved(module: Module, around: Computation, each: Instruction) -> int:
    """Reads and writes of main memory by one instruction, which is not inside a fusion.

    What lies in the chip's fast memories is free. Of an array of which only a piece is read or
    replaced, the piece counts, as in a scan that takes one layer out of many.
    """
    if each.opcode in _FREE or "AllocateBuffer" in each.attribute("custom_call_target"):
        return 0
    if each.opcode == "fusion":
        return _by_fusion(module, around, each)
    operands = [around.instructions[name] for name in each.operands]
    if each.opcode in _PIECES:
        return 2 * _in_hbm(each)
    if each.opcode == "dynamic-update-slice":
        return 2 * _in_hbm(operands[1])
    if each.opcode == "scatter":
        return 3 * _in_hbm(operands[2])
    if each.opcode.endswith("-start"):  # its operand, and then its result, which repeats it
        return sum(array.bytes for array in each.arrays[:2] if array.in_hbm)
    return _in_hbm(each) + sum(map(_in_hbm, operands))


def _in_hbm(each: Instruction) -> int:
    return sum(array.bytes for array in each.arrays if array.in_hbm)


def _by_fusion(module: Module, around: Computation, fusion: Instruction) -> int:
    inside = module.computations[fusion.called("calls")]
    read = 0
    for parameter in inside.instructions.values():
        if parameter.parameter >= 0:
            given = around.instructions[fusion.operands[parameter.parameter]]
            read += min(_in_hbm(given), _read(module, inside, parameter))
    root = inside.root
    if "AsyncCollectiveStart" in root.attributes:  # gives its operand, the result, and flags
        return read + sum(array.bytes for array in fusion.arrays[:2] if array.in_hbm)
    if "AsyncCollectiveDone" in root.attributes:
        return read
    if root.opcode != "tuple":
        return read + (_written(inside, root) if fusion.arrays[0].in_hbm else 0)
    results = [inside.instructions[name] for name in root.operands]
    places = zip(results, fusion.arrays, strict=False)  # a result of several arrays: its first one
    return read + sum(_written(inside, result) for result, place in places if place.in_hbm)


def _read(module: Module, inside: Computation, value: Instruction) -> int:
    """Bytes of a value that a fusion really reads."""
    if value.is_root:  # of a fusion within the fusion, which hands it out in another shape
        return value.bytes
    total = 0
    for user in inside.users(value.name):
        first = user.operands[0] == value.name
        if user.opcode in _PIECES and first:
            total += user.bytes
        elif user.opcode in ("bitcast", "reshape", "get-tuple-element"):
            total += _read(module, inside, user)
        elif _hands_on(user) or (user.opcode == "dynamic-update-slice" and first):
            continue
        elif user.opcode == "fusion":
            called = module.computations[user.called("calls")]
            for parameter in called.instructions.values():
                if parameter.parameter >= 0 and user.operands[parameter.parameter] == value.name:
                    total += _read(module, called, parameter)
        else:
            return value.bytes
    return min(total, value.bytes)


def _written(inside: Computation, result: Instruction) -> int:
    """Bytes that a fusion writes of one of its results."""
    while result.opcode in ("bitcast", "reshape", "copy"):
        result = inside.instructions[result.operands[0]]
    if result.opcode == "dynamic-update-slice":
        return inside.instructions[result.operands[1]].bytes
    return 0 if result.opcode == "parameter" or _hands_on(result) else result.bytes


def _hands_on(each: Instruction) -> bool:
    """Whether it does nothing with what it reads: see `collectives.in_pieces` for the last two."""
    return each.opcode == "tuple" or "AsyncCollective" in each.attributes or in_pieces(each)
