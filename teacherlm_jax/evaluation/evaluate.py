"""The verb `evaluate`: rank classification of one model on several benchmarks."""

import time
from collections.abc import Sequence
from typing import Any

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import store
from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.evaluation import benchmarks, predictions, rank, scoring, tokenized
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def evaluate(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Score the model on every benchmark.

    Writes `NAME.predictions.jsonl` and, if rows are refused, `NAME.refused.jsonl` into the run
    folder.

    Returns:
        `benchmarks`: by name, the result of `rank.summarize` with the numbers of `truncated`
        contexts and `refused` rows, and `seconds`. `model`, `step` and `digest` of the checkpoint.

    Raises:
        UserError: the model or a benchmark cannot be read, a setting cannot be used, or a score is
            NaN.
    """
    inputs = {benchmark.name: _read(benchmark, config.root, run) for benchmark in config.benchmarks}
    mesh = sharding.make_mesh(config.mesh)
    loaded = store.load_model(config.model, mesh, attention=config.attention)
    run.log.info("%s: step %d, %s", config.model, loaded.step, loaded.digest)
    scorer = scoring.Scorer(
        loaded.model,
        mesh=mesh,
        batch_tokens=config.batch_tokens,
        pad_id=loaded.vocabulary.pad_id,
    )
    max_length = min(config.max_length, loaded.config.max_positions or config.max_length)
    if max_length < config.max_length:
        run.log.info("the model has %d positions, which limit max_length", max_length)
    results = {}
    for name, (questions, refused) in inputs.items():
        start = time.monotonic()
        encoded, truncated = tokenized.tokenize(questions, loaded.vocabulary, max_length)
        scores = scorer.score(encoded)
        advice = "evaluate an earlier checkpoint"
        predictions.refuse_nan(f"{config.model} on {name}", questions, scores, advice)
        predicted = predictions.predictions(questions, scores)
        _write(run, name, questions, predicted)
        summary = rank.summarize(predicted)
        seconds = time.monotonic() - start
        _log(run, name, summary, truncated, seconds)
        results[name] = summary | {"truncated": truncated, "refused": refused, "seconds": seconds}
    return {
        "benchmarks": results,
        "model": config.model,
        "step": loaded.step,
        "digest": loaded.digest,
    }


def _read(config: BenchmarkConfig, root: str, run: Run) -> tuple[list[Question], int]:
    """Read a benchmark; return its questions and the number of refused rows."""
    side_file = run.path / layout.refused(config.name)
    refused = RefusedRows(side_file if distributed.is_first() else None)
    try:
        questions = benchmarks.read(config, root, refused, run.log)
    finally:
        refused.close()
    refused.report(run.log, config.name)
    return questions, refused.total


def _write(
    run: Run, name: str, questions: Sequence[Question], predicted: Sequence[rank.Prediction]
) -> None:
    if distributed.is_first():
        rows = (_row(*pair) for pair in zip(questions, predicted, strict=True))
        files.write_jsonl(run.path / layout.predictions(name), rows)


def _row(question: Question, prediction: rank.Prediction) -> dict[str, Any]:
    return {
        "id": question.id,
        "subject": question.subject,
        "gold": question.options[question.gold],
        "prediction": question.options[prediction.choice],
        "scores": dict(zip(question.options, prediction.scores, strict=True)),
    }


def _log(run: Run, name: str, summary: dict[str, Any], truncated: int, seconds: float) -> None:
    """Log the accuracy of one benchmark, and whatever limits its meaning."""
    accuracy = _percent(summary["accuracy"], summary["interval"])
    majority = 100 * summary["majority"]
    run.log.info(
        "%s: accuracy %s on %d questions, majority baseline %.1f %%, %.0f questions/s",
        *(name, accuracy, summary["rows"], majority, summary["rows"] / seconds),
    )
    if (subjects := len(summary["by_subject"])) > 1:
        mean = _percent(summary["macro_accuracy"], summary["macro_interval"])
        run.log.info("%s: macro accuracy %s over %d subjects", name, mean, subjects)
    if truncated:
        run.log.warning("%s: %d contexts were truncated on the left to max_length", name, truncated)


def _percent(accuracy: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * accuracy:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
