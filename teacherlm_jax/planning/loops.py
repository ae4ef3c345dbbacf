"""How often the loops of a program run: XLA's cost analysis counts a loop's body once."""

import math
import re
from collections.abc import Mapping

from teacherlm_jax.planning.hlo import Computation, Instruction, Module

_SAME_VALUE = ("copy", "bitcast", "copy-start", "copy-done", "reshape")
_INCLUDED = {"LT": 0, "LE": 1}  # whether the last value of the counter is its limit


def trips(module: Module, around: Computation, loop: Instruction) -> int | None:
    """Passes of a while loop that stands in the computation `around`; None: the data decide.

    They are known where the compiler says so, or where the loop counts in constant steps from one
    constant up to another, as a `scan` does.
    """
    told = re.search(r'"known_trip_count":\s*\{"n":\s*"(\d+)"', loop.attributes)
    if told is not None:
        return int(told[1])
    condition = module.computations[loop.called("condition")].instructions
    compared = next(each for each in condition.values() if each.is_root)
    included = _INCLUDED.get(compared.attribute("direction"))
    if included is None:
        return None
    counter, limit = (_source(condition, name) for name in compared.operands)
    if counter.opcode != "get-tuple-element":
        return None
    index = int(counter.attribute("index"))
    start = _source(around.instructions, loop.operands[0])
    first = _source(around.instructions, start.operands[index]) if start.operands else start
    step = _step(module.computations[loop.called("body")].instructions, index)
    if not (first.constant and limit.constant and step):
        return None
    return max(0, math.ceil((int(limit.constant) + included - int(first.constant)) / step))


def _source(instructions: Mapping[str, Instruction], name: str) -> Instruction:
    """What gives the value that `name` hands on."""
    found = instructions[name]
    while found.opcode in _SAME_VALUE:
        found = instructions[found.operands[0]]
    return found


def _step(body: Mapping[str, Instruction], index: int) -> int:
    """What a pass adds to the counter at this place of the loop's state; 0 if it does otherwise."""
    root = next(each for each in body.values() if each.is_root)
    if root.opcode != "tuple":
        return 0
    added = _source(body, root.operands[index])
    if added.opcode != "add":
        return 0
    terms = [_source(body, name) for name in added.operands]
    steps = [int(term.constant) for term in terms if term.constant]
    counters = [term for term in terms if term.attribute("index") == str(index)]
    return steps[0] if len(steps) == len(counters) == 1 else 0
