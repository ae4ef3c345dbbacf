"""Everything that is said of a program on a slice, as plain values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.planning.chips import GIB, TpuSlice
from teacherlm_jax.planning.counts import count
from teacherlm_jax.planning.programs import CompiledProgram
from teacherlm_jax.planning.roofline import intensity, mfu_bound, roofline


@dataclasses.dataclass(frozen=True)
class Workload:
    """What a program is for.

    Attributes:
        mesh: axes and sizes, in their order.
        needed: operations that the model needs in one run; None where nothing says so.
        passes_by_data: taken for loops that pass as often as the data decide.
    """

    mesh: Mapping[str, int]
    needed: float | None
    passes_by_data: float


def figures(program: CompiledProgram, task: Workload, where: TpuSlice) -> dict[str, Any]:
    """JSON-able figures of a program on a slice; what is not known is None.

    Sizes are bytes, times seconds, and all but `model_flops` (of all chips) are of one chip.
    """
    available = program.available or where.chip.usable * GIB
    result: dict[str, Any] = {
        "program": program.name,
        "fits": bool(program.text) and program.memory <= available,
        "memory": program.memory,
        "memory_available": available,
        "model_flops": task.needed,
        "compile_seconds": program.compile_seconds,
    }
    if not program.text:
        return result
    counts = count(program.text, task.mesh, task.passes_by_data)
    best = roofline(counts, where.chip)
    mfu = mfu_bound(task.needed, best.seconds, where.chips, where.chip) if task.needed else None
    return {
        **result,
        "flops": counts.flops,
        "memory_moved": counts.memory,
        "sent": [
            {"kind": kind, "axes": axes, "bytes": size}
            for (kind, axes), size in sorted(counts.sent.items(), key=lambda item: -item[1])
        ],
        "loops_by_data": counts.by_data,
        "passes_by_data": task.passes_by_data,
        "kernels_not_counted": dict(counts.opaque),
        "intensity": intensity(counts),
        "roofline": {**dataclasses.asdict(best), "seconds": best.seconds, "bound": best.bound},
        "mfu_bound": mfu,
        "compiler_seconds": program.optimal_seconds,
    }
