"""FLOPs, HBM traffic and communication of a program per chip, over all loop iterations."""

import dataclasses
import functools
from collections.abc import Mapping

from teacherlm_jax.planning import collectives, loops, operations, traffic
from teacherlm_jax.planning.hlo import Computation, Instruction, Module, parse


@dataclasses.dataclass(frozen=True)
class Counts:
    """Totals of one chip.

    Attributes:
        flops: FLOPs of matrix products and convolutions, including those in attention kernels.
        memory: bytes of HBM traffic.
        sent: bytes sent to other chips, by kind of collective and mesh axes.
        dynamic_loops: number of runs of loops whose trip count depends on the data.
        opaque: calls of kernels whose operations are not counted, by name.
    """

    flops: float = 0.0
    memory: float = 0.0
    sent: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    dynamic_loops: float = 0.0
    opaque: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def plus(self, other: "Counts", times: float = 1.0) -> "Counts":
        """Return the sum of these counts and `times` those of `other`."""
        return Counts(
            flops=self.flops + times * other.flops,
            memory=self.memory + times * other.memory,
            sent=_sums(self.sent, other.sent, times),
            dynamic_loops=self.dynamic_loops + times * other.dynamic_loops,
            opaque=_sums(self.opaque, other.opaque, times),
        )


def count(text: str, mesh: Mapping[str, int], assumed_trips: float = 1.0) -> Counts:
    """Return the counts of an optimized program, the text of `jax.stages.Compiled.as_text`.

    `mesh` maps the mesh axes, in order, to their sizes; `assumed_trips` is the trip count of loops
    whose number of iterations depends on the data.
    """
    module = parse(text)
    return _Counting(module, mesh, assumed_trips).of(module.entry)


class _Counting:
    def __init__(self, module: Module, mesh: Mapping[str, int], assumed_trips: float):
        self._module, self._mesh, self._assumed_trips = module, mesh, assumed_trips
        self._known: dict[tuple[str, bool], Counts] = {}

    def of(self, name: str, fused: bool = False) -> Counts:
        """Return the counts of one run of a computation; a fusion has no HBM traffic inside."""
        if (name, fused) not in self._known:
            computation = self._module.computations[name]
            counts = (
                self._one(computation, one, fused) for one in computation.instructions.values()
            )
            self._known[name, fused] = functools.reduce(Counts.plus, counts, Counts())
        return self._known[name, fused]

    def _one(self, computation: Computation, instruction: Instruction, fused: bool) -> Counts:
        own = self._own(computation, instruction, fused)
        if instruction.opcode == "while":
            trips = loops.trip_count(self._module, computation, instruction)
            if trips is None:
                return own.plus(Counts(dynamic_loops=1)).plus(
                    self.of(instruction.called("body"), fused), self._assumed_trips
                )
            return own.plus(self.of(instruction.called("body"), fused), trips)
        if instruction.opcode == "conditional":
            branches = (
                instruction.attribute("branch_computations").strip("{}").replace("%", "").split(",")
            )
            named = [
                instruction.called("true_computation"),
                instruction.called("false_computation"),
                *branches,
            ]
            counts = [self.of(name.strip(), fused) for name in named if name.strip()]
            return own.plus(max(counts, key=lambda branch: (branch.flops, branch.memory)))
        called = instruction.called("to_apply" if instruction.opcode == "call" else "calls")
        if called in self._module.computations:
            return own.plus(self.of(called, fused or instruction.opcode != "call"))
        return own

    def _own(self, computation: Computation, instruction: Instruction, fused: bool) -> Counts:
        """Return the counts of an instruction without the computations that it calls."""
        flops = operations.product_flops(instruction, computation)
        opaque: dict[str, float] = {}
        if instruction.attribute("custom_call_target") == '"tpu_custom_call"':
            flops_of_kernel = operations.kernel_flops(instruction, computation)
            flops = flops_of_kernel or 0
            opaque = {instruction.name: 1.0} if flops_of_kernel is None else {}
        collective = collectives.bytes_sent(instruction, computation, self._mesh)
        sent = {collective[:2]: collective[2]} if collective else {}
        memory = 0 if fused else traffic.bytes_moved(self._module, computation, instruction)
        return Counts(flops, memory, sent, opaque=opaque)


def _sums(left: Mapping, right: Mapping, times: float) -> dict:
    keys = [*left, *(key for key in right if key not in left)]
    return {key: left.get(key, 0.0) + times * right.get(key, 0.0) for key in keys}
