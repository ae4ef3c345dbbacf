"""The verb `plan`: resources that a config needs on a TPU slice, on a machine without a TPU.

The plan is printed and saved in the run folder as `SLICE.txt` and `SLICE.json`, which contains all
figures unrounded, and the config.
"""

import dataclasses
from typing import Any

from teacherlm_jax.config import AnnotateConfig, TrainConfig
from teacherlm_jax.config.plan_options import PlanOptions
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import advice, annotation_programs, chips, compiler, training_program
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.plan_text import page
from teacherlm_jax.planning.program_figures import figures
from teacherlm_jax.planning.training_program import PlannedTraining
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files


def plan(config: TrainConfig | AnnotateConfig, run: Run, options: PlanOptions) -> None:
    """Compile the programs of `config` for a slice; print and save their figures.

    Raises UserError if there is no such slice, if the config does not work on it, and if the
    compiler is not installed; also, after the plan was printed and saved, if a program does not fit
    into the memory of a chip. The message then names settings to try.
    """
    tpu_slice = chips.parse(options.topology)
    devices = compiler.devices(tpu_slice)
    prepared: PlannedTraining | PlannedAnnotation
    if isinstance(config, TrainConfig):
        prepared = training_program.prepare(config, devices, options.length)
    else:
        prepared = annotation_programs.prepare(config, devices, options.length, options.model)
    result = planned(prepared, tpu_slice, options.rows)
    text = page(result, tpu_slice)
    name = tpu_slice.name.replace(":", "-")
    files.write_json(run.path / f"{name}.json", result)
    files.write_text(run.path / f"{name}.txt", text)
    run.log.info("%s\n%s", text, run.path / f"{name}.json")
    worst = max(result["programs"], key=lambda program: program["memory"])
    if not worst["fits"]:
        raise UserError(_fault(prepared, tpu_slice, worst, devices if options.advise else []))


def planned(
    run: PlannedTraining | PlannedAnnotation, tpu_slice: TpuSlice, rows: int = 0
) -> dict[str, Any]:
    """Compile all programs and return the plan, JSON-able; `rows` of an annotation give hours."""
    return (
        _of_training(run, tpu_slice)
        if isinstance(run, PlannedTraining)
        else _of_annotation(run, tpu_slice, rows)
    )


def _of_training(run: PlannedTraining, tpu_slice: TpuSlice) -> dict[str, Any]:
    config, model, state = run.config, run.config.model, run.shapes.abstract
    program = figures(run.compiled(), run.workload, tpu_slice)
    return {
        "summary": (
            f"training: {config.batch_size} rows of {run.length} tokens per step, "
            f"accumulate={config.accumulate}; remat={model.remat}, attention={model.attention}"
        ),
        "slice": tpu_slice.name,
        "mesh": dict(run.mesh.shape),
        "assumed": list(run.assumed),
        "parameters": run.shapes.parameters,
        "held": {"parameters": _held(state.model_params), "optimizer": _held(state.opt_state)},
        "programs": [program],
        "config": dataclasses.asdict(config),
    }


def _of_annotation(run: PlannedAnnotation, tpu_slice: TpuSlice, rows: int) -> dict[str, Any]:
    config = run.config
    compiled = zip(run.compiled(), run.workloads, strict=True)
    programs = [figures(program, task, tpu_slice) for program, task in compiled]
    fits = all(program["fits"] for program in programs)
    prefill, decode = (program["roofline"]["seconds"] if fits else 0 for program in programs)
    return {
        "summary": (
            f"annotation: {config.slots} slots, prompts of up to {run.length} tokens, "
            f"{config.sampling.max_new_tokens} new tokens; attention={run.model.attention}"
        ),
        "slice": tpu_slice.name,
        "mesh": dict(run.mesh.shape),
        "assumed": list(run.assumed),
        "parameters": run.parameters,
        "held": {
            "parameters": _held(run.params),
            "KV cache": {"total": run.cache * tpu_slice.chips, "chip": run.cache},
        },
        "programs": programs,
        "speed": run.speed(prefill, decode, rows) if fits else None,
        "config": dataclasses.asdict(config),
    }


def _held(tree: Any) -> dict[str, float]:
    total, chip = training_program.bytes_of(tree)
    return {"total": total, "chip": chip}


def _fault(
    prepared: PlannedTraining | PlannedAnnotation,
    tpu_slice: TpuSlice,
    worst: dict[str, Any],
    devices: list,
) -> str:
    """Return why a program does not fit and what to try; with `devices`, the advice is compiled."""
    if isinstance(prepared, PlannedTraining):
        changes = advice.for_training(prepared, tpu_slice, worst["memory"])
    else:
        changes = advice.for_annotation(prepared, tpu_slice, worst["memory"])
    proven = _proven(prepared, changes, tpu_slice, devices) if devices and changes else ""
    return advice.sentence(worst["memory"], worst["memory_available"], changes, tpu_slice, proven)


def _proven(
    prepared: PlannedTraining | PlannedAnnotation,
    changes: list[advice.ConfigChange],
    tpu_slice: TpuSlice,
    devices: list,
) -> str:
    attempts = []
    for change in changes:
        result = planned(prepared.with_config(change.config, devices), tpu_slice)
        worst = max(result["programs"], key=lambda program: program["memory"])
        needs = f"{worst['memory'] / chips.GIB:.1f} GiB"
        if worst["fits"]:
            return f"{change.words} fits (compiled: {needs})"
        attempts.append(f"{change.words} needs {needs}")
    return f"none of these fits either (compiled): {'; '.join(attempts)}"
