"""Predictions of `teacherlm evaluate` on several devices and processes, beside those of one device.

A tiny random model scores as many questions as MMLU's test set has. The public questions at hand
are fewer, so they are repeated with other ids. Eight devices are simulated, also those of two
processes. Predictions must be equal, question by question.
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness, pairs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

QUESTIONS = 14_042
DEVICES = 8
MODEL = ModelConfig("bloom", 2, 64, 4, dtype="float32", initializer_range=0.2)
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return EvaluateConfig(
        root={folder!r},
        model="{folder}/model",
        benchmarks=(BenchmarkConfig("mmlu", "mmlu.jsonl", format="mmlu"),),
        mesh=MeshConfig(data=-1, fsdp={fsdp}, tensor={tensor}),
        batch_tokens=8192,
    )
"""


@dataclasses.dataclass(frozen=True)
class DevicesRow:
    """Result of one way to run the command.

    Attributes:
        name: the way.
        questions: number of questions.
        seconds: time of the command.
        accuracy: from 0 to 1.
        different: predictions that differ from those on one device.
        difference: largest difference of a score from that on one device.
    """

    name: str
    questions: int
    seconds: float
    accuracy: float
    different: int
    difference: float


def compare(data: Path, vocabulary: Vocabulary, folder: Path, pilot: int = 0) -> list[DevicesRow]:
    """Run the command in each way; `pilot` is a smaller number of questions, 0: all."""
    write_model(vocabulary, folder / "model", MODEL)
    write_questions(data / "eval" / "mmlu_test.jsonl", folder, pilot or QUESTIONS)
    for fsdp, tensor in ((1, 1), (2, 2)):
        config = CONFIG.format(folder=str(folder), fsdp=fsdp, tensor=tensor)
        (folder / f"mesh{fsdp}{tensor}.py").write_text(config, encoding="utf-8")
    alone = [sys.executable, "-m", "teacherlm_jax", "evaluate"]
    launcher = [sys.executable, str(harness.ROOT / "launch" / "local.py"), "--processes=2"]
    together = [*launcher, f"--devices={DEVICES // 2}", "--", "evaluate"]
    ways = {
        "one device": (alone, 1, "mesh11"),
        "eight devices, mesh 2x2x2": (alone, DEVICES, "mesh22"),
        "two processes of four devices, mesh 2x2x2": (together, 0, "mesh22"),
    }
    rows: list[DevicesRow] = []
    expected: list[dict[str, float]] = []
    for number, (name, (command, devices, config)) in enumerate(ways.items()):
        output = folder / f"run{number}"
        words = [f"--config={folder / config}.py", f"--config.output={output}"]
        began = time.monotonic()
        run([*command, *words], devices)
        seconds = time.monotonic() - began
        scores = [row["scores"] for _, row in files.read_jsonl(output / "mmlu.predictions.jsonl")]
        expected = expected or scores
        accuracy = files.read_json(output / "result.json")["benchmarks"]["mmlu"]["accuracy"]
        different, difference = differences(scores, expected)
        rows.append(DevicesRow(name, len(scores), seconds, accuracy, different, difference))
        print(f"{name}: {seconds:.0f} s, {different} different predictions", flush=True)
    return rows


def write_model(vocabulary: Vocabulary, folder: Path, model: ModelConfig) -> None:
    """Write a random model with OPT's vocabulary as a Hugging Face folder."""
    shape = dataclasses.replace(model, vocab_size=50_272)
    reference = pairs.make(shape).reference
    for name in ("bos_token", "eos_token", "pad_token"):
        setattr(reference.config, f"{name}_id", vocabulary.named_ids()[name])
    reference.save_pretrained(folder)
    vocabulary.save_pretrained(folder)


def write_questions(source: Path, folder: Path, count: int) -> None:
    """Write `count` questions: those of `source`, repeated with other ids."""
    lines = source.read_text(encoding="utf-8").splitlines()
    some = itertools.islice(itertools.cycle(lines), count)
    rows = [{**json.loads(line), "idx": number} for number, line in enumerate(some)]
    files.write_jsonl(folder / "mmlu.jsonl", rows)


def run(command: Sequence[str], devices: int) -> None:
    """Run a command with some simulated devices; 0: the command sets their number itself."""
    environment = dict(os.environ, JAX_PLATFORMS="cpu")
    if devices:
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")


def differences(
    scores: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]
) -> tuple[int, float]:
    """Return the number of different predictions, and the largest difference of a score."""
    different, largest = 0, 0.0
    for one, other in zip(scores, expected, strict=True):
        different += max(one, key=one.__getitem__) != max(other, key=other.__getitem__)
        largest = max(largest, *(abs(one[letter] - other[letter]) for letter in other))
    return different, largest


def table(rows: Sequence[DevicesRow]) -> str:
    """Return the table of all ways."""
    header = ("way", "questions", "seconds", "accuracy", "different predictions", "difference")
    cells = [
        [
            *(row.name, f"{row.questions:,}", f"{row.seconds:.0f}", f"{row.accuracy:.4f}"),
            *(row.different, f"{row.difference:.0e}"),
        ]
        for row in rows
    ]
    return harness.table(header, cells)
