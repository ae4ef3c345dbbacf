"""`make bench-evaluate_batches`: how far scores depend on the batch and the order of questions.

`teacherlm evaluate` scores the letters of real MMLU questions in float32 with a random model of 12
layers of width 512: one question at a time, in large batches, and in another order. Float sums are
rounded in another order if the shape of a batch changes, so scores may differ in their last bits.
The goal is 1e-6 nats, which is one step of float32 at a score of 8 to 16. The questions are in the
folder that `--data` or the variable TEACHERLM_DATA names (default: `../shared/data`).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import evaluate_devices, harness
from benchmarks.evaluate import write_vocabulary
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.storage import files

QUESTIONS = 200
GOAL = 1e-6  # nats
MODEL = ModelConfig("bloom", 12, 512, 8, dtype="float32")
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return EvaluateConfig(
        root={folder!r},
        model="{folder}/model",
        benchmarks=(BenchmarkConfig("mmlu", "mmlu.jsonl", format="mmlu"),),
    )
"""
WAYS = {"one at a time": (1, False), "batches": (8192, False), "other order": (2048, True)}


def scores_of(folder: Path, name: str, tokens: int, backwards: bool) -> dict[str, dict[str, float]]:
    """Return the scores of each question by its id, from the command."""
    questions = [row for _, row in files.read_jsonl(folder / "all.jsonl")]
    files.write_jsonl(folder / "mmlu.jsonl", questions[::-1] if backwards else questions)
    output = folder / name.replace(" ", "_")
    words = [f"--config={folder / 'config.py'}", f"--config.output={output}"]
    command = [sys.executable, "-m", "teacherlm_jax", "evaluate", *words]
    evaluate_devices.run([*command, f"--config.batch_tokens={tokens}"], 1)
    rows = files.read_jsonl(output / "mmlu.predictions.jsonl")
    return {row["id"]: row["scores"] for _, row in rows}


def measure(data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of each question by its id, for each of WAYS."""
    with tempfile.TemporaryDirectory(prefix="evaluate") as temporary:
        folder = Path(temporary)
        vocabulary = write_vocabulary(data, folder / "vocabulary")
        evaluate_devices.write_model(vocabulary, folder / "model", MODEL)
        evaluate_devices.write_questions(data / "eval" / "mmlu_test.jsonl", folder, QUESTIONS)
        (folder / "mmlu.jsonl").rename(folder / "all.jsonl")
        (folder / "config.py").write_text(CONFIG.format(folder=str(folder)), encoding="utf-8")
        return {name: scores_of(folder, name, *way) for name, way in WAYS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("TEACHERLM_DATA", harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of real data")
    options = parser.parse_args(arguments)
    found = measure(options.data)
    first, *others = WAYS
    ids = sorted(found[first])
    expected = [found[first][id] for id in ids]
    rows, largest = [], 0.0
    for name in others:
        different, difference = evaluate_devices.differences(
            [found[name][id] for id in ids], expected
        )
        largest = max(largest, difference)
        rows.append([f"{name} of {WAYS[name][0]:,} tokens", f"{difference:.1e}", different])
    lowest = min(score for scores in expected for score in scores.values())
    text = harness.table(
        ("beside one question at a time", "largest difference, nats", "different predictions"), rows
    ) + (f"\n{len(ids)} questions; scores of {lowest:.1f} nats and above.\n" + harness.conditions())
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "evaluate_batches", text)
    return harness.finish(
        "evaluate_batches",
        f"scores differ by at most {largest:.1e} nats",
        f"{GOAL:.0e}",
        largest <= GOAL,
        {"largest": largest, "rows": rows},
    )


if __name__ == "__main__":
    sys.exit(main())
