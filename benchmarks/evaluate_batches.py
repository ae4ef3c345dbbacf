"""`make bench-evaluate_batches`: dependence of scores on batch size and on the order of questions.

`teacherlm evaluate` scores the letters of real MMLU questions in float32 with a random model of 12
layers of width 512: one question at a time, in large batches, and in reverse order. If the shape of
a batch changes, sums are added in another order, so the last bits of scores may differ. The goal is
1e-6 nats, about one step of float32 (9.5e-7) at scores of 8 to 16. The questions are in the folder
that `--data` or the variable TEACHERLM_DATA names (default: `../shared/data`).
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, mmlu_runs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.storage import files

QUESTIONS = 200
GOAL = 1e-6  # nats
MODEL = ModelConfig("bloom", 12, 512, 8, dtype="float32")
ALONE, BATCHES, REVERSED = 1, 8192, 2048  # tokens of a batch


def measure(data: Path) -> tuple[dict[str, dict[str, Any]], float]:
    """Return what differs from one question at a time, by way, and the lowest score."""
    with tempfile.TemporaryDirectory(prefix="evaluate") as temporary:
        folder = Path(temporary)
        vocabulary = mmlu_runs.write_vocabulary(data, folder / "vocabulary")
        mmlu_runs.write_inputs(data, folder, vocabulary, MODEL, QUESTIONS)

        def scores(tokens: int) -> dict[str, mmlu_runs.Scores]:
            flag = f"--config.batch_tokens={tokens}"
            return mmlu_runs.evaluate(folder, folder / f"run{tokens}", flag)

        expected, in_batches = scores(ALONE), scores(BATCHES)
        questions = [row for _, row in files.read_jsonl(folder / "mmlu.jsonl")]
        files.write_jsonl(folder / "mmlu.jsonl", questions[::-1])
        ways = {
            f"batches of {BATCHES:,} tokens": in_batches,
            f"reverse order, batches of {REVERSED:,} tokens": scores(REVERSED),
        }
    lowest = min(score for options in expected.values() for score in options.values())
    return {name: _compared(found, expected) for name, found in ways.items()}, lowest


def _compared(
    found: Mapping[str, mmlu_runs.Scores], expected: Mapping[str, mmlu_runs.Scores]
) -> dict[str, Any]:
    different, difference = mmlu_runs.differences(found, expected)
    return {"difference": difference, "different_predictions": different}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    mmlu_runs.add_data(parser)
    ways, lowest = measure(parser.parse_args(arguments).data)
    header = ("compared with one question at a time", "largest difference, nats")
    rows = [
        (name, f"{way['difference']:.1e}", way["different_predictions"])
        for name, way in ways.items()
    ]
    text = harness.table((*header, "different predictions"), rows)
    text += f"\n{QUESTIONS} questions; the lowest score is {lowest:.1f} nats.\n"
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "evaluate_batches", text + harness.conditions())
    largest = max(way["difference"] for way in ways.values())
    met = largest <= GOAL and not any(way["different_predictions"] for way in ways.values())
    figure = f"scores differ by at most {largest:.1e} nats"
    figures = {"ways": ways, "lowest": lowest, "questions": QUESTIONS}
    return harness.finish("evaluate_batches", figure, f"{GOAL:.0e}", met, figures)


if __name__ == "__main__":
    sys.exit(main())
