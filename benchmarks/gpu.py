"""`make bench-gpu`: every figure of the project on one GPU, in about eight minutes.

    python -m benchmarks.gpu [--parts train_step,decode] [--output FILE] [--cpu]

It needs jax, flax, optax, jaxtyping and what these install, so it also runs on a bare CUDA image
and from a copy of the code without its history: see docs/reference/results.md. Without tokamax or
qwix their cases are left out. Without torch and transformers the comparison is skipped, and its
goal counts as unmet. The file of the figures is replaced after every case, so a run that is cut off
keeps what it has. Each part has a time budget; cases that do not fit into it are skipped, with the
reason. `--cpu` runs the same code with tiny models in less than a minute, as a test; it is the
default where JAX finds no accelerator.
`--record FILE` puts the figures of such a file into docs/reference/results.md.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

from benchmarks import gpu_authors_way, gpu_generation, gpu_training, harness
from benchmarks.gpu_cases import Card, Case, Figures, Measurements
from teacherlm_jax.runs import versions

MFU, ROOFLINE = 0.50, 0.70  # goals: best training step of bloom-1b1, every decode
TIMES = 40  # goal: tokens per second of the engine over those of one text at a time
MFU_MODEL = "bloom-1b1"
SECONDS = 450  # after which no case starts; the rest of eight minutes is for the start and the end
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        cases: function of the card, and of whether sizes are tiny, that yields the cases.
        budget: share of the time; a part also gets what the parts before it have left.
        columns: keys of the figures in the table, without `name`.
    """

    cases: Callable[[Card, bool], Iterator[Case]]
    budget: float
    columns: tuple[str, ...]


PARTS = {
    "train_step": Part(
        gpu_training.train_steps,
        120,
        ("step_seconds", "tokens_per_second", "mfu", "compile_seconds", "program_bytes"),
    ),
    "decode": Part(
        gpu_generation.decodes,
        190,
        ("step_seconds", "tokens_per_second", "roofline_share", "peak_bytes"),
    ),
    "prefill": Part(gpu_generation.prefills, 40, ("tokens_per_second", "mfu", "peak_bytes")),
    "copies": Part(
        gpu_generation.copies,
        30,
        ("copies", "cache_bytes", "temporary_bytes", "compile_seconds"),
    ),
    "attention": Part(
        gpu_training.attentions,
        40,
        (
            *("packed_seconds", "packed_share_of_peak", "packed_difference"),
            *("one_text_seconds", "one_text_share_of_peak", "compile_seconds", "program_bytes"),
        ),
    ),
    "loss": Part(
        gpu_training.losses, 30, ("loss_seconds", "temporary_bytes", "compile_seconds")
    ),
    "authors_way": Part(
        gpu_authors_way.authors_way,
        1 if gpu_authors_way.missing() else 60,
        (
            *("texts", "tokens_per_second", "transformers_texts"),
            *("transformers_tokens_per_second", "times_as_fast", "compile_seconds"),
        ),
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts; print tables and goals; return the exit status."""
    options = _options(arguments)
    if options.record:
        return _record(options.record)
    if options.parts != ["authors_way"]:  # alone, it leaves a quarter of the memory to transformers
        # A decode with 256 slots of bloom-7b1 needs more than the three quarters that JAX reserves.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if options.cpu:
        jax.config.update("jax_platforms", "cpu")
    tiny = jax.default_backend() == "cpu"
    card = Card.first()
    default = harness.ROOT / "build" / "gpu.json" if tiny else harness.RESULTS / "gpu.json"
    output = options.output or default
    measurements = Measurements(output, _description(card, tiny))
    scale = SECONDS / sum(PARTS[name].budget for name in options.parts)
    until = 0.0
    for name in options.parts:
        if name not in ("decode", "prefill"):  # which share the models
            gpu_generation.forget_models()
        until += scale * PARTS[name].budget
        measurements.run(name, PARTS[name].cases(card, tiny), until)
    print(f"\n{table(measurements.result)}\nFigures: {output}")
    if tiny:
        print("gpu: tiny models on a CPU, so the goals were not compared")
        return int(measurements.failures > 0)
    return max(_goals(measurements), int(measurements.failures > 0))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="run tiny models on the CPU")
    parser.add_argument("--output", type=Path, help="JSON file of the figures")
    parser.add_argument("--record", type=Path, help="put the figures of this file into the docs")
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        default=list(PARTS),
        help=f"comma-separated parts to measure, of {', '.join(PARTS)}; default: all",
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"--parts: unknown part {unknown[0]!r}; expected some of {', '.join(PARTS)}")
    return options


def _description(card: Card, tiny: bool) -> Figures:
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "device": dataclasses.asdict(card),
        "memory_bytes": stats.get("bytes_limit"),
        "tiny": tiny,
        "machine": harness.machine(),
        "commit": versions.commit(),
        "versions": harness.versions(),
        "compilation_cache": jax.config.jax_compilation_cache_dir,
    }


def _goals(measurements: Measurements) -> int:
    """Print a line for each goal; a goal with a case that was not measured is unmet."""
    steps = [case for case in measurements.cases("train_step") if case["model"] == MFU_MODEL]
    best = max((case["mfu"] or 0.0 for case in steps), default=0.0)
    decodes = measurements.cases("decode")
    shares = sorted((case["roofline_share"] or 0.0, case["name"]) for case in decodes)
    low, high = (shares[0], shares[-1]) if shares else ((0.0, "none"), (0.0, "none"))
    copied = measurements.cases("copies")
    count = sum(case["copies"] for case in copied)
    return max(
        harness.judge(
            "gpu_train",
            f"{MFU_MODEL} has an MFU of {best:.1%} in its best of {len(steps)} steps",
            f"{MFU:.0%}",
            best >= MFU,
        ),
        harness.judge(
            "gpu_decode",
            f"{low[0]:.1%} ({low[1]}) to {high[0]:.1%} ({high[1]}) of the roofline in "
            f"{len(shares)} cases",
            f"{ROOFLINE:.0%} in every case",
            low[0] >= ROOFLINE and measurements.complete("decode"),
        ),
        harness.judge(
            "gpu_copies",
            f"{count} copies of the cache in the decode programs of {len(copied)} models",
            "none",
            count == 0 and measurements.complete("copies"),
        ),
        _authors_way_goal(measurements),
    )


def _authors_way_goal(measurements: Measurements) -> int:
    measured = measurements.cases("authors_way")
    times = min((case["times_as_fast"] for case in measured), default=0.0)
    figure = f"{times:.1f} times as many tokens per second as transformers with one text at a time"
    if not measured:
        records = measurements.result["parts"].get("authors_way", {"cases": []})["cases"]
        reasons = [record.get("skipped") or record["failed"] for record in records]
        figure = f"not measured: {', '.join(reasons) or 'not among the parts'}"
    return harness.judge("gpu_authors_way", figure, f"{TIMES} times", times >= TIMES)


def table(result: Figures) -> str:
    """Return a Markdown table for each part."""
    tables = []
    for name, part in result["parts"].items():
        columns = PARTS[name].columns
        header = (name.replace("_", " "), *(_heading(column) for column in columns))
        rows = [_row(case, columns) for case in part["cases"]]
        tables.append(harness.table(header, rows))
    return "\n".join(tables)


def _heading(column: str) -> str:
    unit = {"seconds": ", ms", "bytes": ", MiB"}
    words = column.split("_")
    if words[0] == "compile":
        return "compile, s"
    if words[-1] in unit and column != "tokens_per_second":
        return " ".join(words[:-1]) + unit[words[-1]]
    return column.replace("_per_second", "/s").replace("mfu", "MFU").replace("_", " ")


def _row(case: Figures, columns: Sequence[str]) -> list[str]:
    for key in ("skipped", "failed"):
        if key in case:
            return [case["name"], f"{key}: {case[key]}", *[""] * (len(columns) - 1)]
    return [case["name"], *(_cell(column, case[column]) for column in columns)]


def _cell(column: str, value: float | dict[str, float] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        value = sum(value.values())
    if column.endswith("bytes"):
        return f"{value / _MIB:,.0f}"
    if column == "compile_seconds":
        return f"{value:.1f}"
    if column.endswith("_seconds"):
        return f"{1000 * value:.2f}"
    if column == "mfu" or "share" in column:
        return f"{value:.1%}"
    if column == "times_as_fast":
        return f"{value:.1f}"
    return f"{value:.1e}" if "difference" in column else f"{value:,.0f}"


def _record(path: Path) -> int:
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["tiny"]:
        raise SystemExit(f"{path}: figures of tiny models on a CPU; expected those of a GPU")
    installed = result["versions"]
    packages = [name for name in ("jax", "torch", "transformers") if name in installed]
    conditions = (
        f"\nMeasured on one {result['device']['kind']}; {result['machine']}; "
        f"{', '.join(f'{name} {installed[name]}' for name in packages)}; "
        f"commit {versions.short_commit(result['commit'])}.\n"
    )
    harness.put_into(harness.RESULTS_PAGE, "gpu", table(result) + conditions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
