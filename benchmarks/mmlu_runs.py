"""Runs of `teacherlm evaluate` on MMLU questions with random models, for several benchmarks."""

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import harness, pairs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary

Scores = dict[str, float]  # of the options of a question

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return EvaluateConfig(
        root={folder!r},
        model="{folder}/model",
        benchmarks=(BenchmarkConfig("mmlu", "mmlu.jsonl", format="mmlu"),),
    )
"""


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option `--data`."""
    default = os.environ.get("TEACHERLM_DATA", harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of real data")


def write_vocabulary(data: Path, folder: Path) -> Vocabulary:
    """Write OPT's tokenizer to a folder, for this project and for transformers; return it."""
    plain = folder / "plain"
    plain.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(data / "opt_tokenizer" / f"gpt2-{name}", plain / name)
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>") | {"pad_token": "<pad>"}
    files.write_json(plain / "tokenizer_config.json", names | {"add_bos_token": True})
    vocabulary = open_vocabulary(plain)
    vocabulary.save_pretrained(folder)
    return vocabulary


def write_inputs(
    data: Path, folder: Path, vocabulary: Vocabulary, model: ModelConfig, count: int
) -> None:
    """Write a model, `count` questions and a config that names both to a folder."""
    write_model(vocabulary, folder / "model", model)
    write_questions(data / "eval" / "mmlu_test.jsonl", folder / "mmlu.jsonl", count)
    (folder / "config.py").write_text(CONFIG.format(folder=str(folder)), encoding="utf-8")


def write_model(vocabulary: Vocabulary, folder: Path, model: ModelConfig) -> None:
    """Write a random model with OPT's vocabulary as a Hugging Face folder."""
    shape = dataclasses.replace(model, vocab_size=50_272)
    reference = pairs.make(shape).reference
    for name in ("bos_token", "eos_token", "pad_token"):
        setattr(reference.config, f"{name}_id", vocabulary.named_ids()[name])
    reference.save_pretrained(folder)
    vocabulary.save_pretrained(folder)


def write_questions(source: Path, target: Path, count: int) -> None:
    """Write `count` questions: those of `source`, repeated with other ids."""
    lines = source.read_text(encoding="utf-8").splitlines()
    some = itertools.islice(itertools.cycle(lines), count)
    rows = [{**json.loads(line), "idx": number} for number, line in enumerate(some)]
    files.write_jsonl(target, rows)


def evaluate(
    folder: Path, output: Path, *flags: str, command: Sequence[str] = (), devices: int = 1
) -> dict[str, Scores]:
    """Evaluate, and return the scores of each question by its id.

    Args:
        folder: what `write_inputs` wrote.
        output: run folder.
        flags: flags of the command.
        command: words before them; default: `teacherlm evaluate`.
        devices: number of simulated devices; 0: the command sets it itself.
    """
    command = command or [sys.executable, "-m", "teacherlm_jax", "evaluate"]
    words = [f"--config={folder / 'config.py'}", f"--config.output={output}", *flags]
    run([*command, *words], devices)
    rows = files.read_jsonl(output / "mmlu.predictions.jsonl")
    return {row["id"]: row["scores"] for _, row in rows}


def run(command: Sequence[str], devices: int) -> None:
    """Run a command with some simulated devices; 0: the command sets their number itself."""
    environment = dict(os.environ, JAX_PLATFORMS="cpu")
    if devices:
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")


def differences(scores: Mapping[str, Scores], expected: Mapping[str, Scores]) -> tuple[int, float]:
    """Return the number of different predictions, and the largest difference of a score."""
    different, largest = 0, 0.0
    for id_, other in expected.items():
        one = scores[id_]
        different += max(one, key=one.__getitem__) != max(other, key=other.__getitem__)
        largest = max(largest, *(abs(one[letter] - other[letter]) for letter in other))
    return different, largest
