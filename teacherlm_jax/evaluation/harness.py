"""The evaluate verb: one model, some benchmarks, rank classification."""

import math
import time
from collections.abc import Sequence
from typing import Any

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import store
from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks, rank, scoring
from teacherlm_jax.evaluation.benchmarks import Question
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary


def evaluate(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Scores the model on every benchmark.

    Writes `NAME.predictions.jsonl` and, when rows are refused, `NAME.refused.jsonl` into the run
    folder.

    Returns:
      `benchmarks`: for each name what `rank.summarize` gives, with `truncated` and `refused` rows
      and `seconds`; `model`, `step` and `digest` of the checkpoint.

    Raises:
      UserError: the model or a benchmark cannot be read, a setting cannot be used, or the model
        gives an option no score.
    """
    read = {each.name: _read(each, config, run) for each in config.benchmarks}
    mesh = sharding.make_mesh(config.mesh)
    loaded = store.load_model(config.model, mesh, attention=config.attention)
    run.log.info("%s: step %d, %s", config.model, loaded.step, loaded.digest)
    scorer = scoring.Scorer(
        loaded.model,
        mesh=mesh,
        batch_tokens=config.batch_tokens,
        pad_id=loaded.vocabulary.pad_id,
    )
    longest = min(config.max_length, loaded.config.max_positions or config.max_length)
    if longest < config.max_length:
        run.log.info("the model has learned %d positions: contexts are cut to them", longest)
    results = {}
    for name, (questions, refused) in read.items():
        start = time.monotonic()
        encoded, truncated = encode(questions, loaded.vocabulary, longest)
        summary = _evaluate_one(config.model, name, questions, scorer.score(encoded), run)
        seconds = time.monotonic() - start
        run.log.info("%s: %.0f questions/s", name, len(questions) / seconds)
        if truncated:
            run.log.warning("%s: %d contexts lost their left end", name, truncated)
        results[name] = summary | {"truncated": truncated, "refused": refused, "seconds": seconds}
    return {
        "benchmarks": results,
        "model": config.model,
        "step": loaded.step,
        "digest": loaded.digest,
    }


def encode(
    questions: Sequence[Question], vocabulary: Vocabulary, max_length: int
) -> tuple[list[scoring.Encoded], int]:
    """Questions in tokens, and how many contexts lost their left end to fit `max_length`.

    The model reads what begins every text, the context, and all tokens but the last of an option;
    the context of a question is cut alike for all its options, so that they are ranked on the same
    ground.

    Raises UserError when an option alone leaves no room for any context.
    """
    encoded, truncated = [], 0
    for question in questions:
        context = vocabulary.encode(question.context)
        options = tuple(tuple(vocabulary.encode(option)) for option in question.options)
        longest = max(len(option) for option in options)
        room = max_length - len(vocabulary.begin) - longest + 1
        if room < 1:
            raise UserError(
                f"config.max_length: {max_length} tokens leave no room for the context of "
                f"{question.id}; give more"
            )
        truncated += len(context) > room
        encoded.append(scoring.Encoded((*vocabulary.begin, *context[-room:]), options))
    return encoded, truncated


def _read(config: BenchmarkConfig, whole: EvaluateConfig, run: Run) -> tuple[list[Question], int]:
    side_file = run.path / layout.refused(config.name)
    refused = RefusedRows(side_file if distributed.is_first() else None)
    try:
        questions = benchmarks.read(config, whole.root, refused)
    finally:
        refused.close()
    refused.report(run.log, config.name)
    return questions, refused.total


def refuse_no_number(
    model: str, name: str, questions: Sequence[Question], scores: Sequence[tuple[float, ...]]
) -> None:
    """Raises UserError naming model, benchmark and question where a score is no number."""
    for question, found in zip(questions, scores, strict=True):
        if any(math.isnan(score) for score in found):
            raise UserError(
                f"{model}: gives the options of question {question.id} of {name} the scores "
                f"{list(found)}, and one that is no number cannot be ranked; the parameters are "
                "damaged or overflow: evaluate an earlier checkpoint"
            )


def predictions(
    questions: Sequence[Question], scores: Sequence[tuple[float, ...]]
) -> list[rank.Prediction]:
    """What a model predicts that gives the options of the questions these scores."""
    return [
        rank.Prediction(id=each.id, subject=each.subject, gold=each.gold, scores=found)
        for each, found in zip(questions, scores, strict=True)
    ]


def _evaluate_one(
    model: str,
    name: str,
    questions: Sequence[Question],
    scores: Sequence[tuple[float, ...]],
    run: Run,
) -> dict[str, Any]:
    """Writes the predictions of one benchmark and sums them up."""
    refuse_no_number(model, name, questions, scores)
    made = predictions(questions, scores)
    if distributed.is_first():
        rows = (_row(each, found) for each, found in zip(questions, made, strict=True))
        files.write_jsonl(run.path / layout.predictions(name), rows)
    summary = rank.summarize(made)
    right, majority = _shares(summary["accuracy"], summary["interval"]), 100 * summary["majority"]
    run.log.info("%s: %s of %d, majority %.1f %%", name, right, summary["rows"], majority)
    if (subjects := len(summary["by_subject"])) > 1:
        mean = _shares(summary["macro_accuracy"], summary["macro_interval"])
        run.log.info("%s: %s on average over %d subjects", name, mean, subjects)
    return summary


def _shares(accuracy: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * accuracy:.1f} % right (95 %: {100 * low:.1f} to {100 * high:.1f})"


def _row(question: Question, made: rank.Prediction) -> dict[str, Any]:
    return {
        "id": question.id,
        "subject": question.subject,
        "gold": question.options[question.gold],
        "prediction": question.options[made.choice],
        "scores": dict(zip(question.options, made.scores, strict=True)),
    }
