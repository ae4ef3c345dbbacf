"""Trip counts of a program's loops, because XLA's cost analysis counts a loop's body once."""

import math
import re
from collections.abc import Mapping

from teacherlm_jax.planning.hlo import Computation, Instruction, Module

_SAME_VALUE = ("copy", "bitcast", "copy-start", "copy-done", "reshape")
_INCLUDED = {"LT": 0, "LE": 1}  # 1 if the loop also runs with the counter at its limit


def trip_count(module: Module, computation: Computation, loop: Instruction) -> int | None:
    """Return the iterations of a while loop in `computation`; None if they depend on the data.

    The number is known if the compiler states it, or if the loop counts in constant steps from one
    constant up to another, as a `scan` does.
    """
    stated = re.search(r'"known_trip_count":\s*\{"n":\s*"(\d+)"', loop.attributes)
    if stated is not None:
        return int(stated[1])
    condition = module.computations[loop.called("condition")].instructions
    compared = next(instruction for instruction in condition.values() if instruction.is_root)
    included = _INCLUDED.get(compared.attribute("direction"))
    if included is None:
        return None
    counter, limit = (_source(condition, name) for name in compared.operands)
    if counter.opcode != "get-tuple-element":
        return None
    index = int(counter.attribute("index"))
    start = _source(computation.instructions, loop.operands[0])
    first = _source(computation.instructions, start.operands[index]) if start.operands else start
    step = _step(module.computations[loop.called("body")].instructions, index)
    if not (first.constant and limit.constant and step):
        return None
    return max(0, math.ceil((int(limit.constant) + included - int(first.constant)) / step))


def _source(instructions: Mapping[str, Instruction], name: str) -> Instruction:
    """Return the instruction that computes the value of `name`, behind copies and reshapes."""
    instruction = instructions[name]
    while instruction.opcode in _SAME_VALUE:
        instruction = instructions[instruction.operands[0]]
    return instruction


def _step(body: Mapping[str, Instruction], index: int) -> int:
    """Return the constant that an iteration adds to state `index`; 0 if it does anything else."""
    root = next(instruction for instruction in body.values() if instruction.is_root)
    if root.opcode != "tuple":
        return 0
    added = _source(body, root.operands[index])
    if added.opcode != "add":
        return 0
    terms = [_source(body, name) for name in added.operands]
    steps = [int(term.constant) for term in terms if term.constant]
    counters = [term for term in terms if term.attribute("index") == str(index)]
    return steps[0] if len(steps) == len(counters) == 1 else 0
