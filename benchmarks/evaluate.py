"""`make bench-evaluate`: speed of rank classification beside two other programs.

A model of bloom-560m's shape with random weights scores the letters of real MMLU questions in
float32, in three ways with the same prompts and the same weights:

- the authors' way: transformers with one option of one question at a time, and the logits of every
  position. It is slow, so it is measured on every n-th question by length;
- lm-evaluation-harness with its backend for transformers, at the batch size that is fastest here;
- this project, whose time includes compiling.

All of them get text and tokenize it. The tokens are those of OPT's vocabulary, which is at hand and
splits English into about as many tokens as BLOOM's. Speed is in tokens of contexts per second, and
a context counts once, however often it is read. Scores and predictions must agree.

`evaluate_devices.py` then compares predictions on several devices and processes. The questions are
in the folder that `--data` or the variable TEACHERLM_DATA names (default: `../shared/data`).
`--pilot=40` measures 40 questions and records nothing. `--parts=speed` measures the table of speeds
alone, and records nothing either.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, PreTrainedModel

from benchmarks import evaluate_devices, harness, mmlu_runs, pairs
from teacherlm_jax import sharding
from teacherlm_jax.config import BenchmarkConfig, MeshConfig
from teacherlm_jax.evaluation import benchmarks, tokenized
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.models import registry
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

SHAPE = "bloom-560m"
QUESTIONS, ALONE, TRIED = 500, 40, 32  # of all ways, of the authors', and for each batch size
BATCHES = (1, 2, 4, 8)  # 8 take 11 GiB for the logits of long questions
BATCH_TOKENS = 2048
GOAL_ALONE, GOAL_HARNESS = 8.0, 2.0
TOLERANCE = 1e-3  # nats; scores are about -12

Scores = list[tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Result of one way.

    Attributes:
        tokens: tokens of the contexts of its questions.
        seconds: time for all of them.
        scores: of the options of each question.
    """

    tokens: int
    seconds: float
    scores: Scores

    @property
    def speed(self) -> float:
        """Tokens of contexts per second."""
        return self.tokens / self.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    mmlu_runs.add_data(parser)
    parser.add_argument("--pilot", type=int, default=0, help="questions; nothing is recorded")
    parser.add_argument(
        "--shape", default=SHAPE, help="shape of the model; another one is not recorded"
    )
    parser.add_argument(
        "--parts", default="speed,devices", help="parts to measure; fewer are not recorded"
    )
    parser.add_argument("--batch_tokens", type=int, default=BATCH_TOKENS, help="of this project")
    options = parser.parse_args(arguments)
    count, parts = options.pilot or QUESTIONS, options.parts.split(",")
    is_pilot = options.pilot or options.shape != SHAPE or set(parts) != {"speed", "devices"}
    text, figure, met, figures = "", "", True, {}
    with tempfile.TemporaryDirectory(prefix="evaluate") as temporary:
        folder = Path(temporary)
        vocabulary = mmlu_runs.write_vocabulary(options.data, folder / "vocabulary")
        if "speed" in parts:
            questions = read_questions(options.data, count)
            timings, batch = compare(questions, vocabulary, folder / "vocabulary", options)
            text, figure, met, figures = described(timings, batch, count)
        if "devices" in parts:
            rows = evaluate_devices.compare(
                options.data, vocabulary, folder / "devices", options.pilot
            )
            text += f"\n{evaluate_devices.table(rows)}"
            figures["devices"] = [dataclasses.asdict(row) for row in rows]
            met = met and all(row.different == 0 for row in rows)
    print(text)
    if is_pilot:
        print(figure)
        return 0
    versions = harness.conditions("torch", "transformers", "lm_eval")
    harness.put_into(harness.RESULTS_PAGE, "evaluate", text + versions)
    goal = f"{GOAL_ALONE:g} and {GOAL_HARNESS:g}, equal predictions"
    return harness.finish("evaluate", figure, goal, met, figures)


def read_questions(data: Path, count: int) -> list[Question]:
    """Return real MMLU questions, with the sentence that names the subject."""
    config = BenchmarkConfig(
        name="mmlu",
        path="mmlu_test.jsonl",
        format="mmlu",
        subject_prefix=True,
        limit=count,
        limit_by="seed",
    )
    return benchmarks.read(config, str(data / "eval"), RefusedRows(None))


def compare(
    questions: Sequence[Question],
    vocabulary: Vocabulary,
    folder: Path,
    options: argparse.Namespace,
) -> tuple[dict[str, Timing], int]:
    """Return the timing of each way, and the best batch size of lm-evaluation-harness."""
    pair = pairs.make(registry.shape(options.shape, dtype="float32", **vocabulary_of(options)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lengths = [len(tokenizer(question.context)["input_ids"]) for question in questions]
    by_length = sorted(range(len(questions)), key=lambda index: lengths[index])
    timings: dict[str, Timing] = {}
    tried, alone = min(TRIED, len(questions) // 4), min(ALONE, len(questions) // 8)

    def timed(name: str, count: int, score: Callable[[Sequence[Question]], Scores]) -> Timing:
        """Measure one way on `count` questions, spread evenly over all lengths."""
        step = len(questions) / min(count, len(questions))
        chosen = [by_length[int(step * (n + 0.5))] for n in range(min(count, len(questions)))]
        chosen.sort()
        began = time.monotonic()
        scores = score([questions[index] for index in chosen])
        seconds = time.monotonic() - began
        padded: Scores = [()] * len(questions)
        for index, of_question in zip(chosen, scores, strict=True):
            padded[index] = of_question
        timings[name] = Timing(sum(lengths[index] for index in chosen), seconds, padded)
        print(f"{name}: {timings[name].speed:.1f} tokens/s", flush=True)
        return timings[name]

    timed("ours", len(questions), lambda some: by_this_project(pair, some, vocabulary, options))
    jax.clear_caches()
    backend = HFLM(pair.reference, tokenizer=tokenizer, max_length=2048)
    speeds = {
        batch: timed(f"batch {batch}", tried, lambda some, b=batch: by_harness(backend, some, b))
        for batch in BATCHES
    }
    best = max(speeds, key=lambda batch: speeds[batch].speed)
    timed("harness", len(questions), lambda some: by_harness(backend, some, best))
    timed("alone", alone, lambda some: one_by_one(pair.reference, tokenizer, some))
    return timings, best


def vocabulary_of(options: argparse.Namespace) -> dict[str, int]:
    """Return the size of the vocabulary of a tiny model, whose own is too small for the tokens."""
    return {"vocab_size": 50_272} if options.shape.endswith("tiny") else {}


def by_this_project(
    pair: pairs.Pair,
    questions: Sequence[Question],
    vocabulary: Vocabulary,
    options: argparse.Namespace,
) -> Scores:
    """Return the scores of this project, including the time to tokenize and to compile."""
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    scorer = Scorer(pair.model, mesh=mesh, batch_tokens=options.batch_tokens, pad_id=0)
    ids, _ = tokenized.tokenize(questions, vocabulary, max_length=2048)
    return scorer.score(ids)


def by_harness(backend: HFLM, questions: Sequence[Question], batch: int) -> Scores:
    """Return the scores of lm-evaluation-harness with its backend for transformers."""
    backend.batch_size_per_gpu = batch
    requests = [
        Instance("loglikelihood", {}, (question.context, option), number)
        for question in questions
        for number, option in enumerate(question.options)
    ]
    answers = iter(backend.loglikelihood(requests, disable_tqdm=True))
    return [tuple(next(answers)[0] for _ in question.options) for question in questions]


def one_by_one(model: PreTrainedModel, tokenizer: Any, questions: Sequence[Question]) -> Scores:
    """Return the scores of transformers, one option of one question at a time."""

    def score(context: str, option: str) -> float:
        read = tokenizer(context)["input_ids"]
        ids = tokenizer(option, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([[*read, *ids]])).logits[0]
        log_probabilities = logits.log_softmax(-1)[len(read) - 1 : -1]
        return log_probabilities.gather(-1, torch.tensor(ids)[:, None]).sum().item()

    return [
        tuple(score(question.context, option) for option in question.options)
        for question in questions
    ]


def described(
    timings: dict[str, Timing], batch: int, count: int
) -> tuple[str, str, bool, dict[str, Any]]:
    """Return the table of the three ways, the last line's figure, the verdict, and all figures."""
    ours, alone, theirs = (timings[name] for name in ("ours", "alone", "harness"))
    different, largest = 0, 0.0
    for other in (alone, theirs):
        for actual, expected in zip(ours.scores, other.scores, strict=True):
            if expected:
                different += np.argmax(actual) != np.argmax(expected)
                largest = max(largest, float(np.abs(np.subtract(actual, expected)).max()))
    names = {
        f"transformers, one option at a time, {sum(map(bool, alone.scores))} questions": alone,
        f"lm-evaluation-harness, transformers backend, batches of {batch}": theirs,
        "teacherlm_jax": ours,
    }
    per_question = ours.tokens / count
    rows = [
        [
            name,
            f"{way.speed:.0f}",
            f"{way.speed / per_question:.2f}",
            f"{way.speed / alone.speed:.1f}",
        ]
        for name, way in names.items()
    ]
    header = ("way", "context tokens/s", "questions/s", "times as fast as one at a time")
    tried = ", ".join(f"{size}: {timings[f'batch {size}'].speed:.0f}" for size in BATCHES)
    text = harness.table(header, rows) + (
        f"\n{count} questions of {per_question:.0f} tokens on average; the time of teacherlm_jax "
        f"includes compiling. lm-evaluation-harness on some questions by batch size, context "
        f"tokens/s: {tried}. {different} different predictions; scores differ by at most "
        f"{largest:.0e}.\n"
    )
    times = ours.speed / alone.speed, ours.speed / theirs.speed
    figure = (
        f"{times[0]:.1f} times as fast as one option at a time and {times[1]:.1f} times as "
        "lm-evaluation-harness"
    )
    met = times[0] >= GOAL_ALONE and times[1] >= GOAL_HARNESS
    met = met and different == 0 and largest <= TOLERANCE
    figures = {
        "times": times,
        "tokens_per_second": {name: way.speed for name, way in timings.items()},
        "best_batch": batch,
        "questions": count,
        "different_predictions": int(different),
        "difference": largest,
    }
    return text, figure, met, figures


if __name__ == "__main__":
    sys.exit(main())
