"""A training run killed again and again, against the same run left in peace: no bit may differ.

A tiny model trains in real processes on two simulated devices; it saves, measures itself and tells
of its progress at cadences that do not divide each other. Chains of processes work on one run
each: every one but the last is ended by SIGKILL, or SIGTERM at times, half of them at any moment of
a process's life, the others when it is at something that is worth a closer look. One more chain
changes its mesh at every start: it has to go on with the same rows.
"""

import collections
import itertools
import os
import random
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
from teacherlm_jax.tokenization.vocabulary import Vocabulary, train_sentencepiece

GOAL = 30  # kills
CHAINS, KILLS, LONGEST = 5, 36, 8  # so many at least, and kills of one chain at most
PHASES = ("start", "compile", "step", "save", "validation", "end")
STEPS = 48
LENGTH = 32  # of a row
WORDS = ("red", "green", "blue", "one", "two", "three", "is", "not", "and", "or", "because", "so")
MESHES = ({"data": 1, "fsdp": 2}, {"data": 1, "tensor": 2}, {"data": 2})
APART = 1e-4  # relative, of the losses on another mesh
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
    """Runs the benchmark; returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="kill_train") as folder:
        return _measured(Path(folder))


def _measured(folder: Path) -> int:
    words, environment = prepare(folder), on_two_devices(folder)

    def start(name: str, *more: str) -> kills.Training:
        return kills.Training.start(folder / name, STEPS, [*words, *more], environment)

    in_peace(start("warm"))  # programs are compiled
    life = in_peace(start("peace"))
    expected = kills.outcome(folder / "peace")
    draw, fallen, differing = random.Random(0), collections.Counter(), []
    targets = itertools.cycle(PHASES[2:])
    chains = 0
    while chains < CHAINS or fallen.total() < KILLS:
        name = f"chain{chains}"
        chains += 1
        for _ in range(LONGEST):
            moment = next(targets) if draw.random() < 0.5 else draw.uniform(0, life)
            by = signal.SIGTERM if draw.random() < 0.2 else signal.SIGKILL
            found = start(name).kill(moment, by, delay=draw.uniform(0, 0.03))
            if found is None:
                break
            fallen[found, by.name] += 1
        in_peace(start(name))
        found = kills.differences(kills.outcome(folder / name), expected)
        differing += [f"{name}: {each}" for each in found]
    moved = _moved(start, draw, fallen)
    differing += [f"moved: {each}" for each in moved]
    return _finish(fallen, chains + 1, differing, life)


def _moved(start: Any, draw: random.Random, fallen: collections.Counter) -> list[str]:
    """What differs by more than rounding in a chain that changes its mesh at every start."""
    for mesh in MESHES:
        words = [f"--config.mesh.{axis}={size}" for axis, size in mesh.items()]
        training = start("moved", *words)
        found = training.kill("step", signal.SIGKILL, delay=draw.uniform(0, 0.3))
        if found is not None:
            fallen[found, "SIGKILL"] += 1
    training = start("moved")
    in_peace(training)
    ours, theirs = (
        [row for _, row in files.read_jsonl(training.run.with_name(name) / "metrics.jsonl")]
        for name in ("moved", "peace")
    )
    return [
        f"step {mine['step']}"
        for mine, other in itertools.zip_longest(ours, theirs, fillvalue={"step": 0})
        if any(mine[key] != other[key] for key in ("step", "loss_tokens"))
        or abs(mine["loss"] - other["loss"]) > APART * other["loss"]
    ]


def _finish(fallen: collections.Counter, chains: int, differing: list[str], life: float) -> int:
    rows = [(phase, *(fallen[phase, name] for name in ("SIGKILL", "SIGTERM"))) for phase in PHASES]
    count = fallen.total()
    text = harness.table(("phase of the run", "SIGKILL", "SIGTERM"), rows)
    told = f"\n{count} kills in {chains} runs, {len(differing)} differences. "
    told += f"An uninterrupted run takes {life:.1f} s.\n"
    print(text + told)
    for each in differing:
        print(f"differs: {each}")
    harness.put_into(harness.RESULTS_PAGE, "kill_train", text + told + harness.conditions())
    return harness.finish(
        "kill_train",
        f"{count} kills, {chains} chains, {len(differing)} differences",
        f"at least {GOAL} kills, 0 differences",
        count >= GOAL and not differing,
        {"phases": {row[0]: row[1:] for row in rows}, "differing": differing, "seconds": life},
    )


def in_peace(training: kills.Training) -> float:
    """Waits for the end of a run that has just begun; gives the seconds of its life."""
    began = time.monotonic()
    if training.process.wait():
        raise RuntimeError(f"{training.run}: ended by itself:\n{training.told}")
    return time.monotonic() - began


def on_two_devices(folder: Path) -> dict[str, str]:
    """The environment of the processes: two simulated devices, programs kept in `folder`."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def prepare(folder: Path, steps: int = STEPS) -> list[str]:
    """Makes data, questions and a config under `folder`; gives the words that name the config."""
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
    places = {name: str(folder / name) for name in ("data", "held_out")}
    config = CONFIG.format(**places, root=str(folder), steps=steps)
    files.write_text(folder / "config.py", config)
    return [f"--config={folder / 'config.py'}"]


def _write(folder: Path, texts: list[str], vocabulary: Vocabulary) -> None:
    """A prepared folder, all of whose tokens are trained."""
    encoded = [[*vocabulary.encode(text), vocabulary.eos_id] for text in texts]
    entries = [packing.Encoded(tokens, [True] * len(tokens)) for tokens in encoded]
    rows = packing.pack(entries, LENGTH)
    write_prepared(folder, rows, vocabulary, length=LENGTH, rows_per_shard=16)


if __name__ == "__main__":
    sys.exit(main())
