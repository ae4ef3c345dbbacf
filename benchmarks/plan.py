"""`make bench-plan`: the smallest slice of each TPU that trains each teacher at the paper's batch.

Nothing is run: the real training steps are compiled for absent slices, one after the
other, beginning with the smallest on which they fit by an estimate. Results are kept in
`runs/bench_plan`, so that an interrupted benchmark resumes; they are recomputed if the program or
the compiler changes. Compiling everything takes about half an hour on two cores.
"""

import dataclasses
import functools
import hashlib
import json
import re
import sys
from typing import Any

import jax

from benchmarks import harness, topology
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import chips, compiler, memory, training_program
from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.program_figures import Workload, figures
from teacherlm_jax.planning.programs import CompiledProgram
from teacherlm_jax.planning.training_program import PlannedTraining
from teacherlm_jax.storage import files
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.training.step import batch_shapes, train_step
from teacherlm_jax.wording import GIB

LENGTH = 2048
BATCHES = {"560m": 256, "1b1": 512, "3b": 512, "7b1": 768, "176b": 1024}  # rows, as in the paper
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SLICES = {
    "v5e": _FLAT,
    "v6e": _FLAT,
    "v5p": ("1x1x1", "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8"),
}
GOALS = {("7b1", "v5e"): 64, ("176b", "v5p"): 256}  # chips, at most
ATTEMPTS = 2  # compiled per slice; the second one corrects the estimate by the error of the first
_KEPT = harness.ROOT / "runs" / "bench_plan"


def main() -> int:
    """Find the slices, print the table and write it to docs/reference/tpu-slices.md."""
    sys.path.append(str(topology.FOLDER))
    cases = sorted(
        ((size, chip) for size in BATCHES for chip in SLICES), key=lambda case: case not in GOALS
    )
    rows_by_case = {}
    for size, chip in cases:
        rows_by_case[size, chip] = smallest(size, chip)
        print(_line(size, chip, rows_by_case[size, chip]), flush=True)
    rows = [
        rows_by_case[size, chip] for size in BATCHES for chip in SLICES if rows_by_case[size, chip]
    ]
    none = [f"bloom-{size} on {chip}" for (size, chip), row in rows_by_case.items() if row is None]
    text = _table(rows)
    if none:
        text += f"\nNo slice of up to 256 chips was found for: {', '.join(none)}.\n"
    print(text)
    conditions = harness.conditions() + f"Compiled by libtpu {topology.version()}, not run.\n"
    harness.put_into(harness.DOCS / "reference" / "tpu-slices.md", "plan", text + conditions)
    reached = [rows_by_case[case] for case in GOALS]
    met = all(
        row is not None and row["chips"] <= most
        for row, most in zip(reached, GOALS.values(), strict=True)
    )
    return harness.finish(
        "plan",
        ", ".join(f"bloom-{size} on {rows_by_case[size, chip]['slice']}" for size, chip in GOALS)
        if all(reached)
        else "one of them does not fit on any slice",
        ", ".join(f"bloom-{size} on {most} {chip}" for (size, chip), most in GOALS.items()),
        met,
        {"rows": rows, "fits_nowhere": none},
    )


def smallest(size: str, chip: str) -> dict[str, Any] | None:
    """Return the figures of a model on the smallest slice where it fits; None if there is none."""
    config = TrainConfig(
        output=f"runs/bloom-{size}",
        data=f"runs/bloom-{size}-data",
        model=registry.shape(f"bloom-{size}", attention="fused"),
        batch_size=BATCHES[size],
    )
    parameters = round(model_flops(config.model, 1, 0) / 6)
    for shape in SLICES[chip]:
        tpu_slice, factor = chips.parse(f"{chip}:{shape}"), 1.0
        for _ in range(ATTEMPTS):
            candidate = next(memory.candidates(config, parameters, tpu_slice, LENGTH, factor), None)
            if candidate is None:
                break
            row = _figures(candidate, tpu_slice)
            if row["fits"]:
                return row
            print(
                f"  {tpu_slice.name}, {_mesh(row)}: needs {row['memory'] / GIB:.1f} GiB", flush=True
            )
            factor = 1.01 * row["memory"] / memory.estimate(candidate, parameters, LENGTH)
    return None


def _figures(config: TrainConfig, tpu_slice: TpuSlice) -> dict[str, Any]:
    """Return the figures of a config on a slice, compiled now or earlier."""
    run = training_program.prepare(config, compiler.devices(tpu_slice), LENGTH)
    kept = _KEPT / f"{_key(run, tpu_slice)}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(kept, dataclasses.asdict(run.compiled()))
    needed = model_flops(run.config.model, config.batch_size * LENGTH, LENGTH)
    workload = Workload(dict(run.mesh.shape), needed, assumed_trips=1)
    state = run.shapes.abstract
    return {
        "model": config.output.rpartition("/")[2],
        "slice": tpu_slice.name,
        "chips": tpu_slice.chips,
        "mesh": dict(run.mesh.shape),
        "accumulate": config.accumulate,
        "remat": config.model.remat,
        "batch": config.batch_size,
        "parameters": run.shapes.parameters,
        "state": training_program.bytes_of((state.params, state.opt_state))[1],
        **figures(CompiledProgram(**files.read_json(kept)), workload, tpu_slice),
    }


def _key(run: PlannedTraining, tpu_slice: TpuSlice) -> str:
    """Return a key of the traced step, the sharding of its arguments, and the compiler."""
    config, shapes = run.config, run.shapes
    batch = batch_shapes(config.batch_size, run.length, run.mesh)
    step = functools.partial(
        train_step,
        graph=shapes.graph,
        optimizer=shapes.optimizer,
        loss_block=config.loss_block,
        accumulate=config.accumulate,
    )
    with jax.set_mesh(run.mesh):
        traced = str(jax.make_jaxpr(step)(shapes.abstract, batch))
    program = re.sub(r"0x[0-9a-f]+", "", traced)  # addresses of functions in this process
    specs = [str(array.sharding.spec) for array in jax.tree.leaves((shapes.abstract, batch))]
    versions = [topology.version(), harness.versions()["jax"]]
    parts = [program, specs, dict(run.mesh.shape), tpu_slice.name, versions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _line(size: str, chip: str, row: dict[str, Any] | None) -> str:
    if row is None:
        return f"bloom-{size} on {chip}: no slice is large enough"
    return f"bloom-{size}: {row['slice']}, {_mesh(row)}, {row['memory'] / GIB:.1f} GiB per chip"


def _mesh(row: dict[str, Any]) -> str:
    axes = [f"{axis}={size}" for axis, size in row["mesh"].items() if size > 1] or ["one chip"]
    return ", ".join([*axes, f"accumulate={row['accumulate']}"])


def _table(rows: list[dict[str, Any]]) -> str:
    header = (
        "model",
        "slice",
        "chips",
        "mesh, accumulation",
        "remat",
        "batch",
        "state, GiB per chip",
        "peak, GiB per chip",
        "model PFLOPs per step",
        "compiled / model FLOPs",
        "sent, GB per chip",
        "FLOPs per byte",
        "roofline, s",
        "bound by",
        "maximum MFU",
    )
    return harness.table(header, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    best = row["roofline"]
    return [
        row["model"],
        row["slice"],
        str(row["chips"]),
        _mesh(row),
        row["remat"],
        str(row["batch"]),
        f"{row['state'] / GIB:.1f}",
        f"{row['memory'] / GIB:.1f} of {row['memory_available'] / GIB:.1f}",
        f"{row['model_flops'] / 1e15:.1f}",
        f"{row['flops'] * row['chips'] / row['model_flops']:.2f}",
        f"{sum(item['bytes'] for item in row['sent']) / 1e9:.1f}",
        f"{row['intensity']:.0f}",
        f"{best['seconds']:.1f}",
        best["bound"],
        f"{row['mfu_bound']:.0%}",
    ]


if __name__ == "__main__":
    sys.exit(main())
