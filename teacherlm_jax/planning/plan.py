"""The verb `plan`: resources that a config needs on a TPU slice or on GPUs that are not there.

For a TPU slice the programs are compiled; for GPUs the figures are estimated. The plan is printed
and saved in the run folder as `SLICE.txt` and `SLICE.json`, which contains all figures unrounded,
and the config.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.config import AnnotateConfig, TrainConfig
from teacherlm_jax.config.options import PlanOptions
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import (
    advice,
    annotation_programs,
    calibration,
    compiler,
    gpu_plan,
    planned_run,
    topology,
    training_program,
)
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.gpus import GpuSet
from teacherlm_jax.planning.plan_text import page
from teacherlm_jax.planning.planned_run import PlannedRun
from teacherlm_jax.planning.program_figures import figures
from teacherlm_jax.planning.topology import Topology
from teacherlm_jax.planning.training_program import PlannedTraining, held
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.wording import GIB


def plan(config: TrainConfig | AnnotateConfig, run: Run, options: PlanOptions) -> None:
    """Compile or estimate the programs of `config`; print and save their figures.

    Raises UserError for an unknown slice or GPU, if the config does not work on it, and if the
    TPU compiler is needed and not installed; also, after the plan was printed and saved, if a
    program does not fit into the memory of a chip. The message then names settings to try.
    """
    wanted = topology.parse(options.topology)
    if isinstance(wanted, GpuSet):
        result, fault = _on_gpus(config, wanted, options)
    else:
        result, fault = _on_slice(config, wanted, options)
    text = page(result, wanted)
    name = wanted.name.replace(":", "-")
    files.write_json(run.path / f"{name}.json", result)
    files.write_text(run.path / f"{name}.txt", text)
    run.log.info("%s\n%s", text, run.path / f"{name}.json")
    if fault:
        raise UserError(fault)


def _on_slice(
    config: TrainConfig | AnnotateConfig, tpu_slice: TpuSlice, options: PlanOptions
) -> tuple[dict[str, Any], str]:
    """Return the plan for a slice, and why it does not fit; empty if it fits."""
    if options.calibration:
        raise UserError(
            f"--calibration={options.calibration}: works for GPUs only, as in "
            "--topology=gpu:h100; leave it out"
        )
    devices = compiler.devices(tpu_slice)
    prepared = planned_run.prepare(config, devices, options.length, options.model)
    result = planned(prepared, tpu_slice, options.rows)
    worst = largest(result)
    if worst["fits"]:
        return result, ""
    return result, _fault(prepared, tpu_slice, worst, devices if options.advise else [])


def _on_gpus(
    config: TrainConfig | AnnotateConfig, wanted: GpuSet, options: PlanOptions
) -> tuple[dict[str, Any], str]:
    """Return the plan for GPUs, and why it does not fit; empty if it fits."""
    if options.advise:
        raise UserError(
            f"--advise: compiles for TPU slices only, and nothing is compiled for {wanted.name}; "
            "leave it out"
        )
    efficiency = calibration.load(options.calibration, wanted.gpu)
    prepared = gpu_plan.prepare(config, wanted, options.length, options.model)
    result = gpu_plan.planned(prepared, wanted, efficiency, options.rows)
    worst = largest(result)
    return result, "" if worst["fits"] else _fault(prepared, wanted, worst, [])


def largest(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the program of a plan that needs the most memory."""
    return max(result["programs"], key=lambda program: program["memory"])


def planned(run: PlannedRun, tpu_slice: TpuSlice, rows: int = 0) -> dict[str, Any]:
    """Compile all programs and return the plan, JSON-able; `rows` of an annotation give hours."""
    return (
        _of_training(run, tpu_slice)
        if isinstance(run, PlannedTraining)
        else _of_annotation(run, tpu_slice, rows)
    )


def _of_training(run: PlannedTraining, tpu_slice: TpuSlice) -> dict[str, Any]:
    state = run.shapes.abstract
    program = figures(run.compiled(), run.workload, tpu_slice)
    return {
        "summary": training_program.summary(run),
        "slice": tpu_slice.name,
        "mesh": dict(run.mesh.shape),
        "assumed": list(run.assumed),
        "parameters": run.shapes.parameters,
        "held": {"parameters": held(state.model_params), "optimizer": held(state.opt_state)},
        "programs": [program],
        "speed": run.speed(program["roofline"]["seconds"]) if program["fits"] else None,
        "config": dataclasses.asdict(run.config),
    }


def _of_annotation(run: PlannedAnnotation, tpu_slice: TpuSlice, rows: int) -> dict[str, Any]:
    compiled = zip(run.compiled(), run.workloads, strict=True)
    programs = [figures(program, task, tpu_slice) for program, task in compiled]
    fits = all(program["fits"] for program in programs)
    prefill, decode = (program["roofline"]["seconds"] if fits else 0 for program in programs)
    return {
        "summary": annotation_programs.summary(run),
        "slice": tpu_slice.name,
        "mesh": dict(run.mesh.shape),
        "assumed": list(run.assumed),
        "parameters": run.parameters,
        "held": {
            "parameters": held(run.params),
            "KV cache": {"total": run.cache * tpu_slice.chips, "chip": run.cache},
        },
        "programs": programs,
        "speed": run.speed(prefill, decode, rows) if fits else None,
        "config": dataclasses.asdict(run.config),
    }


def _fault(
    prepared: PlannedRun,
    wanted: Topology,
    worst: dict[str, Any],
    devices: list,
) -> str:
    """Return why a program does not fit and what to try; with `devices`, the advice is compiled."""
    hint = ""
    if isinstance(prepared, PlannedTraining):
        changes = advice.for_training(prepared, wanted, worst["memory"])
        if not changes and advice.adapters_fit(prepared, wanted, worst["memory"]):
            hint = f"; adapters fit (--config.lora.rank={advice.RANK}, with config.init_from)"
    else:
        changes = advice.for_annotation(prepared, wanted, worst["memory"])
    proven = ""
    if devices and changes and not isinstance(wanted, GpuSet):
        proven = _proven(prepared, changes, wanted, devices)
    available = worst["memory_available"]
    return advice.sentence(worst["memory"], available, changes, wanted, proven) + hint


def _proven(
    prepared: PlannedRun,
    changes: list[advice.ConfigChange],
    tpu_slice: TpuSlice,
    devices: list,
) -> str:
    attempts = []
    for change in changes:
        result = planned(prepared.with_config(change.config, devices), tpu_slice)
        worst = largest(result)
        needs = f"{worst['memory'] / GIB:.1f} GiB"
        if worst["fits"]:
            return f"{change.words} fits (compiled: {needs})"
        attempts.append(f"{change.words} needs {needs}")
    return f"none of these fits either (compiled): {'; '.join(attempts)}"
