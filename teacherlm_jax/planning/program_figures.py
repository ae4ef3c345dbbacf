"""All figures of a program on a slice, as plain values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.counts import Counts, count
from teacherlm_jax.planning.programs import CompiledProgram
from teacherlm_jax.planning.roofline import intensity, mfu_bound, roofline
from teacherlm_jax.planning.topology import Topology
from teacherlm_jax.wording import GIB


@dataclasses.dataclass(frozen=True)
class Workload:
    """Facts about one run of a program that its HLO does not show.

    Attributes:
        mesh: sizes by mesh axis, in order.
        needed: FLOPs that the model needs; None if unknown.
        assumed_trips: iterations assumed for loops whose number depends on the data.
    """

    mesh: Mapping[str, int]
    needed: float | None
    assumed_trips: float


def figures(program: CompiledProgram, workload: Workload, tpu_slice: TpuSlice) -> dict[str, Any]:
    """Return the figures of a program on a slice, JSON-able; unknown ones are None.

    Sizes are in bytes, times in seconds. All figures are per chip, except `model_flops`, which is
    the total of all chips.
    """
    available = program.available or tpu_slice.chip.usable * GIB
    result: dict[str, Any] = {
        "program": program.name,
        "fits": bool(program.text) and program.memory <= available,
        "memory": program.memory,
        "memory_available": available,
        "model_flops": workload.needed,
        "compile_seconds": program.compile_seconds,
    }
    if not program.text:
        return result
    counts = count(program.text, workload.mesh, workload.assumed_trips)
    return {**result, **with_roofline(counts, workload, tpu_slice)}


def with_roofline(counts: Counts, workload: Workload, wanted: Topology) -> dict[str, Any]:
    """Return the figures that follow from the counts of a program."""
    best = roofline(counts, wanted.chip)
    needed = workload.needed
    return {
        "flops": counts.flops,
        "memory_moved": counts.memory,
        "sent": [
            {"kind": kind, "axes": axes, "bytes": size}
            for (kind, axes), size in sorted(counts.sent.items(), key=lambda item: -item[1])
            if size
        ],
        "loops_by_data": counts.dynamic_loops,
        "passes_by_data": workload.assumed_trips,
        "kernels_not_counted": dict(counts.opaque),
        "intensity": intensity(counts),
        "roofline": {**dataclasses.asdict(best), "seconds": best.seconds, "bound": best.bound},
        "mfu_bound": mfu_bound(needed, best.seconds, wanted.chips, wanted.chip) if needed else None,
    }
