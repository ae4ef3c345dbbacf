"""`make bench-kill_train`: a run that is killed many times must equal an uninterrupted run.

A tiny model is trained in real processes on two simulated devices. It saves, validates and logs at
intervals that do not divide each other. Each chain of processes trains one run: all processes but
the last are killed, mostly with SIGKILL and sometimes with SIGTERM, half of them at a random time
and the others in a chosen phase. All results must be bit-equal. One more chain changes its mesh at
every start and must continue with the same rows.
"""

import collections
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, kills
from benchmarks.prepared_rows import write_prepared
from teacherlm_jax.data import packing
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary, train_sentencepiece

GOAL = 30  # kills
CHAINS, KILLS, LONGEST = 5, 36, 8  # minimum of chains and kills, maximum of kills in one chain
PHASES = ("start", "compile", "step", "save", "validation", "end")
STEPS = 48
LENGTH = 32  # tokens per row
WORDS = ("red", "green", "blue", "one", "two", "three", "is", "not", "and", "or", "because", "so")
LOCAL = ("warm", "uninterrupted")  # runs that are never in a bucket
MESHES = ({"data": 1, "fsdp": 2}, {"data": 1, "tensor": 2}, {"data": 2})
TOLERANCE = 1e-4  # relative, for losses on another mesh
CONFIG = """
from teacherlm_jax import config

def get_config(argument=""):
    return config.TrainConfig(
        output="",
        data={data!r},
        model=config.ModelConfig(layers=2, width=32, heads=2, vocab_size=400, dtype="float32"),
        optimizer=config.OptimizerConfig(learning_rate=0.003, warmup_steps=4, weight_decay=0.1),
        mesh=config.MeshConfig(data=2),
        checkpoint=config.CheckpointConfig(every=5, keep=2, best=1),
        validation=config.ValidationConfig(
            every=7,
            root={root!r},
            benchmarks=(config.BenchmarkConfig("set", "set.jsonl"),),
            data={held_out!r},
            metric="held_out/loss",
        ),
        batch_size=4,
        steps={steps},
        log_every=4,
    )
"""


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="kill_train") as folder:
        return measured(Path(folder), "kill_train")


def measured(folder: Path, benchmark: str, bucket: str = "") -> int:
    """Kill runs again and again; print, record and return the verdict.

    Args:
        folder: an empty folder.
        benchmark: name of the benchmark, under which the results are recorded.
        bucket: address of a folder in a bucket for the killed runs; empty: they are in `folder`.
            Their temporary files on this machine are removed after each kill.
    """
    words, environment = prepare(folder), on_two_devices(folder)
    temporary = folder / "temporary"

    def start(name: str, *more: str) -> kills.Training:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        at = f"{bucket}/{name}" if bucket and name not in LOCAL else ""
        settings = {**environment, "TMPDIR": str(temporary)}
        return kills.Training.start(folder / name, STEPS, [*words, *more], settings, at)

    run_to_end(start("warm"))  # fills the compilation cache
    run_seconds = run_to_end(start("uninterrupted"))
    expected = kills.outcome(StoragePath(folder / "uninterrupted"))
    draw, killed, differing = random.Random(0), collections.Counter(), []
    targets = itertools.cycle(PHASES[2:])
    chains = 0
    while chains < CHAINS or killed.total() < KILLS:
        name = f"chain{chains}"
        chains += 1
        for _ in range(LONGEST):
            moment = next(targets) if draw.random() < 0.5 else draw.uniform(0, run_seconds)
            number = signal.SIGTERM if draw.random() < 0.2 else signal.SIGKILL
            phase = start(name).kill(moment, number, delay=draw.uniform(0, 0.03))
            if phase is None:
                break
            killed[phase, number.name] += 1
        last = start(name)
        run_to_end(last)
        differences = kills.differences(kills.outcome(last.address), expected)
        differing += [f"{name}: {difference}" for difference in differences]
    differing += [f"resharded: {step}" for step in _resharded(start, draw, killed)]
    return _finish(benchmark, killed, chains + 1, differing, run_seconds)


def _resharded(start: Any, draw: random.Random, killed: collections.Counter) -> list[str]:
    """Return the steps that differ by more than rounding if every start has another mesh."""
    for mesh in MESHES:
        words = [f"--config.mesh.{axis}={size}" for axis, size in mesh.items()]
        training = start("resharded", *words)
        phase = training.kill("step", signal.SIGKILL, delay=draw.uniform(0, 0.3))
        if phase is not None:
            killed[phase, "SIGKILL"] += 1
    training = start("resharded")
    run_to_end(training)
    actual, expected = (
        [row for _, row in files.read_jsonl(run / "metrics.jsonl")]
        for run in (training.address, training.run.with_name("uninterrupted"))
    )
    return [
        f"step {row['step']}"
        for row, reference in itertools.zip_longest(actual, expected, fillvalue={"step": 0})
        if any(row[key] != reference[key] for key in ("step", "loss_tokens"))
        or abs(row["loss"] - reference["loss"]) > TOLERANCE * reference["loss"]
    ]


def _finish(
    benchmark: str,
    killed: collections.Counter,
    chains: int,
    differing: list[str],
    run_seconds: float,
) -> int:
    rows = [(phase, *(killed[phase, name] for name in ("SIGKILL", "SIGTERM"))) for phase in PHASES]
    count = killed.total()
    text = harness.table(("phase of the run", "SIGKILL", "SIGTERM"), rows)
    summary = f"\n{count} kills in {chains} runs, {len(differing)} differences. "
    summary += f"An uninterrupted run takes {run_seconds:.1f} s.\n"
    print(text + summary)
    for difference in differing:
        print(f"differs: {difference}")
    harness.put_into(harness.RESULTS_PAGE, benchmark, text + summary + harness.conditions())
    return harness.finish(
        benchmark,
        f"{count} kills, {chains} chains, {len(differing)} differences",
        f"at least {GOAL} kills, 0 differences",
        count >= GOAL and not differing,
        {
            "phases": {row[0]: row[1:] for row in rows},
            "differing": differing,
            "seconds": run_seconds,
        },
    )


def run_to_end(training: kills.Training) -> float:
    """Wait until a process that was just started finishes the run; return the seconds it took."""
    began = time.monotonic()
    if training.process.wait():
        raise RuntimeError(f"{training.run}: failed without being killed:\n{training.output}")
    return time.monotonic() - began


def on_two_devices(folder: Path) -> dict[str, str]:
    """Return an environment with two simulated devices and a compilation cache in `folder`."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def prepare(folder: Path, steps: int = STEPS) -> list[str]:
    """Write data, questions and a config to `folder`; return the arguments that name the config."""
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, draw.integers(3, 9))) for _ in range(300)]
    vocabulary = train_sentencepiece(texts, folder / "vocabulary", size=400, seed=0)
    _write(folder / "data", texts[:250], vocabulary)
    _write(folder / "held_out", texts[250:], vocabulary)
    questions = [
        {"id": f"q{n}", "question": text, "options": ["True", "False"], "answer": "AB"[n % 2]}
        for n, text in enumerate(texts[:40])
    ]
    files.write_jsonl(folder / "set.jsonl", questions)
    paths = {name: str(folder / name) for name in ("data", "held_out")}
    config = CONFIG.format(**paths, root=str(folder), steps=steps)
    files.write_text(folder / "config.py", config)
    return [f"--config={folder / 'config.py'}"]


def _write(folder: Path, texts: list[str], vocabulary: Vocabulary) -> None:
    """Write a prepared folder with loss on all tokens."""
    encoded = [[*vocabulary.encode(text), vocabulary.eos_id] for text in texts]
    entries = [packing.Encoded(tokens, [True] * len(tokens)) for tokens in encoded]
    rows = packing.pack(entries, LENGTH)
    write_prepared(folder, rows, vocabulary, length=LENGTH, rows_per_shard=16)


if __name__ == "__main__":
    sys.exit(main())
