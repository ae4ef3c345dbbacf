"""HBM traffic of one instruction, in bytes."""

from teacherlm_jax.planning.collectives import is_chunked
from teacherlm_jax.planning.hlo import Computation, Instruction, Module

# Instructions without traffic of their own: they rename values, or call or end other instructions.
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
_SLICES = ("dynamic-slice", "slice", "gather")
_REPLACING = ("dynamic-update-slice", "scatter")  # they replace parts of their first operand


def bytes_moved(module: Module, computation: Computation, instruction: Instruction) -> int:
    """Return the bytes that an instruction outside fusions reads from and writes to HBM.

    Arrays in on-chip memories are free. If only a slice of an array is read or replaced, as in a
    scan over layers, only the slice counts.
    """
    if instruction.opcode in _FREE or "AllocateBuffer" in instruction.attribute(
        "custom_call_target"
    ):
        return 0
    if instruction.opcode == "fusion":
        return _fusion_bytes(module, computation, instruction)
    operands = [computation.instructions[name] for name in instruction.operands]
    if instruction.opcode in _SLICES:
        return 2 * _in_hbm(instruction)
    if instruction.opcode == "dynamic-update-slice":
        return 2 * _in_hbm(operands[1])
    if instruction.opcode == "scatter":
        return 2 * _in_hbm(operands[2])
    if instruction.opcode.endswith("-start"):  # a tuple of operand and result
        return sum(array.bytes for array in instruction.arrays[:2] if array.in_hbm)
    return _in_hbm(instruction) + sum(map(_in_hbm, operands))


def _in_hbm(instruction: Instruction) -> int:
    return sum(array.bytes for array in instruction.arrays if array.in_hbm)


def _fusion_bytes(module: Module, computation: Computation, fusion: Instruction) -> int:
    inside = module.computations[fusion.called("calls")]
    read = 0
    for parameter in inside.instructions.values():
        if parameter.parameter >= 0:
            operand = computation.instructions[fusion.operands[parameter.parameter]]
            read += min(_in_hbm(operand), _bytes_read(module, inside, parameter))
    root = inside.root
    if "AsyncCollectiveStart" in root.attributes:  # a tuple of operand, result and flags
        return read + sum(array.bytes for array in fusion.arrays[:2] if array.in_hbm)
    if "AsyncCollectiveDone" in root.attributes:
        return read
    if root.opcode != "tuple":
        return read + (_bytes_written(inside, root) if fusion.arrays[0].in_hbm else 0)
    results = [inside.instructions[name] for name in root.operands]
    pairs = zip(results, fusion.arrays, strict=False)  # a nested tuple counts by its first array
    return read + sum(_bytes_written(inside, result) for result, array in pairs if array.in_hbm)


def _bytes_read(module: Module, inside: Computation, value: Instruction) -> int:
    """Return the bytes of a value that a fusion reads."""
    if value.is_root:  # a nested fusion that returns the value in another shape
        return value.bytes
    total = 0
    for user in inside.users(value.name):
        first = user.operands[0] == value.name
        if user.opcode in _SLICES and first:
            total += user.bytes
        elif user.opcode in ("bitcast", "reshape", "get-tuple-element"):
            total += _bytes_read(module, inside, user)
        elif _is_pass_through(user) or (user.opcode in _REPLACING and first):
            continue
        elif user.opcode == "fusion":
            called = module.computations[user.called("calls")]
            for parameter in called.instructions.values():
                if parameter.parameter >= 0 and user.operands[parameter.parameter] == value.name:
                    total += _bytes_read(module, called, parameter)
        else:
            return value.bytes
    return min(total, value.bytes)


def _bytes_written(inside: Computation, result: Instruction) -> int:
    """Return the bytes that a fusion writes for one of its results."""
    while result.opcode in ("bitcast", "reshape", "copy"):
        result = inside.instructions[result.operands[0]]
    if result.opcode in _REPLACING:
        new = result.operands[1 if result.opcode == "dynamic-update-slice" else 2]
        return inside.instructions[new].bytes
    return 0 if result.opcode == "parameter" or _is_pass_through(result) else result.bytes


def _is_pass_through(instruction: Instruction) -> bool:
    """Return whether an instruction forwards its operands, as tuples and chunked collectives do."""
    return (
        instruction.opcode == "tuple"
        or "AsyncCollective" in instruction.attributes
        or is_chunked(instruction)
    )
