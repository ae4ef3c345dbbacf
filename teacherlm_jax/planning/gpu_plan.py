"""Plans for GPUs: estimates from shapes, without a compiler."""

import dataclasses
from typing import Any

from teacherlm_jax.config import AnnotateConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import int8
from teacherlm_jax.planning import (
    analytic_counts,
    annotation_programs,
    gpu_memory,
    gpus,
    planned_run,
)
from teacherlm_jax.planning import training_program as training
from teacherlm_jax.planning.annotation_programs import STEPS, PlannedAnnotation
from teacherlm_jax.planning.calibration import Efficiency
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.gpu_memory import Parts
from teacherlm_jax.planning.gpus import GpuSet
from teacherlm_jax.planning.planned_run import PlannedRun
from teacherlm_jax.planning.program_figures import Workload, with_roofline
from teacherlm_jax.planning.roofline import mfu_bound
from teacherlm_jax.planning.training_program import PlannedTraining
from teacherlm_jax.wording import GIB, counted

CLOSE = (0.7, 1.5)  # shares of the memory between which the error of the estimate may decide


def prepare(
    config: TrainConfig | AnnotateConfig, wanted: GpuSet, length: int, named: str
) -> PlannedRun:
    """Return the run of a config on GPUs; `length` and `named` as in `planned_run`.

    Raises UserError if the config does not work on them.
    """
    prepared = planned_run.prepare(config, wanted.chips, length, named)
    if isinstance(prepared, PlannedTraining):
        model, key = prepared.config.model, "config.model.attention"
    else:
        model, key = prepared.model, "config.attention"
    if model.attention == "fused":
        raise UserError(
            f"{key}='fused': this kernel runs on TPUs only, and --topology={wanted.name} has none; "
            f"set --{key}=blockwise"
        )
    return prepared


def planned(
    run: PlannedRun,
    wanted: GpuSet,
    efficiency: Efficiency,
    rows: int = 0,
) -> dict[str, Any]:
    """Return the plan, JSON-able, with the keys of a compiled one where both have a figure."""
    own = (
        _of_training(run, wanted, efficiency)
        if isinstance(run, PlannedTraining)
        else _of_annotation(run, wanted, efficiency, rows)
    )
    return {
        **own,
        "slice": wanted.name,
        "mesh": dict(run.mesh.shape),
        "estimated": "memory, FLOPs and times follow from shapes; nothing was compiled or run",
        "efficiency": dataclasses.asdict(efficiency),
        "config": dataclasses.asdict(run.config),
    }


def _of_training(run: PlannedTraining, wanted: GpuSet, efficiency: Efficiency) -> dict[str, Any]:
    state, parts = run.shapes.abstract, gpu_memory.of_training(run)
    counts, workload = analytic_counts.of_training(run), run.workload
    expected = efficiency.expected(counts, wanted.chip)
    program = _program("training step", parts, counts, workload, wanted, expected)
    if workload.needed:
        program["expected"]["mfu"] = mfu_bound(
            workload.needed, expected["seconds"], wanted.chips, wanted.chip
        )
    return {
        "summary": training.summary(run),
        "assumed": list(run.assumed),
        "parameters": run.shapes.parameters,
        "held": {
            "parameters": training.held(state.model_params),
            "optimizer": training.held(state.opt_state),
        },
        "memory_parts": parts,
        "programs": [program],
        "speed": run.speed(expected["seconds"]) if program["fits"] else None,
    }


def _of_annotation(
    run: PlannedAnnotation, wanted: GpuSet, efficiency: Efficiency, rows: int
) -> dict[str, Any]:
    parts = gpu_memory.of_annotation(run)
    counts = analytic_counts.of_annotation(run)
    names = (
        f"prefill of {counted(run.group, 'prompt')} of {run.length} tokens",
        f"{STEPS} steps of decoding with {counted(run.config.slots, 'slot')}",
    )
    expected = (
        efficiency.expected(counts[0], wanted.chip, prefill=True),
        efficiency.expected(counts[1], wanted.chip),
    )
    workload = Workload(dict(run.mesh.shape), None, 1)
    programs = [
        _program(name, parts, each, workload, wanted, times)
        for name, each, times in zip(names, counts, expected, strict=True)
    ]
    prefill, decode = (times["seconds"] for times in expected)
    return {
        "summary": annotation_programs.summary(run),
        "assumed": [*run.assumed, *_about_int8(run, wanted)],
        "parameters": run.parameters,
        "held": {
            "parameters": training.held(run.params),
            "KV cache": {"total": run.cache * wanted.chips, "chip": run.cache},
        },
        "memory_parts": parts,
        "programs": programs,
        "speed": run.speed(prefill, decode, rows) if programs[0]["fits"] else None,
    }


def _about_int8(run: PlannedAnnotation, wanted: GpuSet) -> list[str]:
    if run.config.weights != int8.NAME:
        return []
    peak, other = wanted.chip.peak / 1e12, wanted.chip.int8 / 1e12
    return [
        (
            f"int8 weights are multiplied in bfloat16, at a peak of {peak:,.0f} TFLOP/s, not the "
            f"{other:,.0f} of int8 products"
        )
    ]


def _program(
    name: str,
    parts: Parts,
    counts: Counts,
    workload: Workload,
    wanted: GpuSet,
    expected: dict[str, float],
) -> dict[str, Any]:
    """Return the figures of a program."""
    size, available = sum(parts.values()), wanted.chip.usable * GIB
    return {
        "program": name,
        "fits": size <= available,
        "memory": size,
        "memory_available": available,
        "memory_note": verdict(size, wanted),
        "model_flops": workload.needed,
        **with_roofline(counts, workload, wanted),
        "expected": expected,
    }


def verdict(size: float, wanted: GpuSet) -> str:
    """Return whether `size` bytes fit on one of the GPUs, in words."""
    available = wanted.chip.usable * GIB
    error = f"; close, the estimate may be {gpu_memory.ERROR:.0%} off"
    close = error if CLOSE[0] < size / available < CLOSE[1] else ""
    if size > available:
        return f"does not fit{close}"
    if size > gpus.DEFAULT_FRACTION * wanted.chip.reported * GIB:
        return f"fits with {gpus.SETTING}{close}"
    return f"fits{close}"
