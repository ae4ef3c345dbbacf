"""What a program does on each chip, counted over all passes of its loops."""

import dataclasses
import functools
from collections.abc import Mapping

from teacherlm_jax.planning import collectives, loops, operations, traffic
from teacherlm_jax.planning.hlo import Computation, Instruction, Module, parse


@dataclasses.dataclass(frozen=True)
class Counts:
    """Sums for one chip.

    Attributes:
        flops: floating-point operations of products, those of attention kernels among them.
        memory: bytes between main memory and cores.
        sent: bytes to other chips, by kind of collective and the mesh axes it goes along.
        by_data: runs of loops that pass as often as the data decide.
        opaque: calls of kernels whose operations are not counted, by name.
    """

    flops: float = 0.0
    memory: float = 0.0
    sent: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    by_data: float = 0.0
    opaque: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def plus(self, other: "Counts", times: float = 1.0) -> "Counts":
        """This and what `other` does in so many runs."""
        return Counts(
            flops=self.flops + times * other.flops,
            memory=self.memory + times * other.memory,
            sent=_sums(self.sent, other.sent, times),
            by_data=self.by_data + times * other.by_data,
            opaque=_sums(self.opaque, other.opaque, times),
        )


def count(text: str, mesh: Mapping[str, int], passes_by_data: float = 1.0) -> Counts:
    """Counts an optimised program, as `jax.stages.Compiled.as_text` gives it.

    `mesh` has the mesh's axes and sizes in their order; `passes_by_data` stands for the passes of
    a loop whose number is not in the program.
    """
    module = parse(text)
    return _Counting(module, mesh, passes_by_data).of(module.entry)


class _Counting:
    def __init__(self, module: Module, mesh: Mapping[str, int], passes_by_data: float):
        self._module, self._mesh, self._passes_by_data = module, mesh, passes_by_data
        self._known: dict[tuple[str, bool], Counts] = {}

    def of(self, name: str, fused: bool = False) -> Counts:
        """One run of a computation; memory does not count within a fusion."""
        if (name, fused) not in self._known:
            around = self._module.computations[name]
            each = (self._one(around, one, fused) for one in around.instructions.values())
            self._known[name, fused] = functools.reduce(Counts.plus, each, Counts())
        return self._known[name, fused]

    def _one(self, around: Computation, each: Instruction, fused: bool) -> Counts:
        own = self._own(around, each, fused)
        if each.opcode == "while":
            passes = loops.trips(self._module, around, each)
            if passes is None:
                return own.plus(Counts(by_data=1)).plus(
                    self.of(each.called("body"), fused), self._passes_by_data
                )
            return own.plus(self.of(each.called("body"), fused), passes)
        if each.opcode == "conditional":
            branches = each.attribute("branch_computations").strip("{}").replace("%", "").split(",")
            named = [each.called("true_computation"), each.called("false_computation"), *branches]
            ways = [self.of(name.strip(), fused) for name in named if name.strip()]
            return own.plus(max(ways, key=lambda way: (way.flops, way.memory)))
        called = each.called("to_apply" if each.opcode == "call" else "calls")
        if called in self._module.computations:
            return own.plus(self.of(called, fused or each.opcode != "call"))
        return own

    def _own(self, around: Computation, each: Instruction, fused: bool) -> Counts:
        """An instruction without the computations that it calls."""
        flops = operations.of_product(each, around)
        opaque: dict[str, float] = {}
        if each.attribute("custom_call_target") == '"tpu_custom_call"':
            of_kernel = operations.of_kernel(each, around)
            flops = of_kernel or 0
            opaque = {each.name: 1.0} if of_kernel is None else {}
        going = collectives.sent(each, around, self._mesh)
        sent = {going[:2]: going[2]} if going else {}
        memory = 0 if fused else traffic.moved(self._module, around, each)
        return Counts(flops, memory, sent, opaque=opaque)


def _sums(ours: Mapping, theirs: Mapping, times: float) -> dict:
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return {key: ours.get(key, 0.0) + times * theirs.get(key, 0.0) for key in keys}
