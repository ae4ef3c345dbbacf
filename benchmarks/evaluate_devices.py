"""Predictions of `teacherlm evaluate` on several devices and processes, beside those of one device.

A tiny random model scores as many questions as MMLU's test set has. The public questions at hand
are fewer, so they are repeated with other ids. Eight devices are simulated, also those of two
processes. Predictions must be equal, question by question.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness, mmlu_runs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

QUESTIONS = 14_042
DEVICES = 8
MODEL = ModelConfig("bloom", 2, 64, 4, dtype="float32", initializer_range=0.2)


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
    mmlu_runs.write_inputs(data, folder, vocabulary, MODEL, pilot or QUESTIONS)
    launcher = [sys.executable, str(harness.ROOT / "launch" / "local.py"), "--processes=2"]
    together = [*launcher, f"--devices={DEVICES // 2}", "--", "evaluate"]
    ways: dict[str, tuple[list[str], int, int]] = {
        "one device": ([], 1, 1),
        "eight devices, mesh 2x2x2": ([], DEVICES, 2),
        "two processes of four devices, mesh 2x2x2": (together, 0, 2),
    }
    rows: list[DevicesRow] = []
    expected: dict[str, mmlu_runs.Scores] = {}
    for number, (name, (command, devices, split)) in enumerate(ways.items()):
        output = folder / f"run{number}"
        mesh = [f"--config.mesh.{axis}={split}" for axis in ("fsdp", "tensor")]
        flags = ["--config.batch_tokens=8192", "--config.mesh.data=-1", *mesh]
        began = time.monotonic()
        scores = mmlu_runs.evaluate(folder, output, *flags, command=command, devices=devices)
        seconds = time.monotonic() - began
        expected = expected or scores
        accuracy = files.read_json(output / "result.json")["benchmarks"]["mmlu"]["accuracy"]
        different, difference = mmlu_runs.differences(scores, expected)
        rows.append(DevicesRow(name, len(scores), seconds, accuracy, different, difference))
        print(f"{name}: {seconds:.0f} s, {different} different predictions", flush=True)
    return rows


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
