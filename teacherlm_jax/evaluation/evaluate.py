"""The verb `evaluate`: rank classification of one model on several benchmarks."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.data.sample import LETTERS
from teacherlm_jax.evaluation import benchmarks, contamination, predictions, rank
from teacherlm_jax.evaluation.contamination import Contamination
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.hf import any_model
from teacherlm_jax.models.forward_flops import forward_flops
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tracking import tracking as tracks

_TIES_TO_WARN_OF = 0.01  # share of the questions
_TRACKED = ("accuracy", "macro_accuracy")  # figures of a benchmark that are tracked as scalars
# Keys of a benchmark that decide what its accuracy means; results record them.
_SETTINGS = ("format", "style", "score", "reduction", "tokenization", "shots", "subject_prefix")


def evaluate(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Score the model on every benchmark.

    Writes `NAME.predictions.jsonl` and, if rows are refused, `NAME.refused.jsonl` into the run
    folder; with `config.train_manifest` also `NAME.contaminated.jsonl`.

    Returns:
        `benchmarks`: by name, the result of `rank.summarize` with the numbers of `truncated`
        contexts and `refused` rows, the `settings` of the scoring, and `seconds`; with
        `config.train_manifest` also `contamination`, see `Contamination.summary`. `model`, `step`
        and `digest` of the checkpoint, and the `dtype` of the computation. `costs`, see `_costs`.

    Raises:
        UserError: the model, a benchmark or the training data cannot be read, a setting cannot be
            used, or a score is NaN.
    """
    tracks.require(config.track)
    began = time.monotonic()
    benchmark_rows = {
        benchmark_config.name: _read(benchmark_config, config.root, run)
        for benchmark_config in config.benchmarks
    }
    in_training = _find_in_training(
        {name: questions for name, (questions, _) in benchmark_rows.items()}, config, run
    )
    mesh = sharding.make_mesh(config.mesh)
    loaded = any_model.load(config.model, mesh, dtype=config.dtype, attention=config.attention)
    run.log.info("%s: step %d, %s", config.model, loaded.step, loaded.digest)
    positions = loaded.config.max_positions
    if 0 < positions < config.max_length:
        run.log.info("the model has %d positions, which limit max_length", positions)
    scorer = predictions.scorer_of(loaded, config.batch_tokens)
    results: dict[str, Any] = {}
    with tracks.open_tracking("evaluate", config, run) as tracking:
        for benchmark in config.benchmarks:
            name, (questions, refused) = benchmark.name, benchmark_rows[benchmark.name]
            results[name] = _evaluate(
                benchmark, questions, config, loaded, scorer, run, in_training.get(name)
            )
            results[name]["refused"] = refused
        scalars = {f"{name}/{key}": results[name][key] for name in results for key in _TRACKED}
        tracking.log(scalars, loaded.step)  # at once, since a service takes a step only once
        result = {
            "benchmarks": results,
            "model": config.model,
            "step": loaded.step,
            "digest": loaded.digest,
            "dtype": config.dtype,
            "costs": _costs(results, loaded, scorer, mesh, time.monotonic() - began),
        }
        tracking.finish(result, _table(results))
    return result


def _costs(
    results: Mapping[str, Mapping[str, Any]],
    loaded: LoadedModel,
    scorer: Scorer,
    mesh: Mesh,
    seconds: float,
) -> dict[str, Any]:
    """Return the costs of an evaluation as JSON.

    `questions`; `tokens` that the model read and `scored_tokens` of options; `flops` of the forward
    passes; `seconds` since the evaluation began, number of `chips` and kinds of `devices`.
    """
    counts = scorer.counts
    return {
        "questions": sum(figures["rows"] for figures in results.values()),
        "tokens": counts.read,
        "scored_tokens": counts.scored,
        "flops": forward_flops(loaded.config, counts.read, counts.pairs, counts.states),
        "seconds": seconds,
        "chips": mesh.size,
        "devices": sorted({device.device_kind for device in mesh.devices.flat}),
    }


def _table(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the accuracies as a table with a row per benchmark."""
    return [
        {
            "benchmark": name,
            **{key: figures[key] for key in ("rows", *_TRACKED, "majority")},
            **dict(zip(("low", "high"), figures["interval"], strict=True)),
        }
        for name, figures in results.items()
    ]


def inputs(config: EvaluateConfig) -> dict[str, str]:
    """Return the digests of the model, each benchmark's files and the manifests, by config key."""
    digests = {"model": any_model.describe(config.model).digest}
    for benchmark in config.benchmarks:
        digests[f"benchmarks.{benchmark.name}"] = benchmarks.digest(benchmark, config.root)
    for index, data in enumerate(contamination.open_all(config.train_manifest)):
        digests[f"train_manifest[{index}]"] = data.digest
    return digests


def _find_in_training(
    benchmark_questions: Mapping[str, Sequence[Question]], config: EvaluateConfig, run: Run
) -> dict[str, Contamination]:
    """Find the questions of each benchmark in the training data; empty if the config has none."""
    if not config.train_manifest:
        return {}
    data = contamination.open_all(config.train_manifest)
    in_training = contamination.find(benchmark_questions, data, run.log)
    if distributed.is_first():
        for name, found in in_training.items():
            rows = found.rows(benchmark_questions[name])
            files.write_jsonl(run.path / layout.contaminated(name), rows)
    return in_training


def _evaluate(
    benchmark: BenchmarkConfig,
    questions: Sequence[Question],
    config: EvaluateConfig,
    loaded: LoadedModel,
    scorer: Scorer,
    run: Run,
    in_training: Contamination | None,
) -> dict[str, Any]:
    """Score one benchmark, write its predictions and return its figures."""
    start = time.monotonic()
    predicted, truncated = predictions.score(
        loaded,
        questions,
        reduction=benchmark.reduction,
        tokenization=benchmark.tokenization,
        max_length=config.max_length,
        scorer=scorer,
        name=f"{config.model} on {benchmark.name}",
    )
    _write(run, benchmark.name, questions, predicted, in_training)
    summary = rank.summarize(predicted)
    seconds = time.monotonic() - start
    _log(run, benchmark.name, summary, truncated, seconds)
    settings = {key: getattr(benchmark, key) for key in _SETTINGS}
    if benchmark.reduction == "unconditional":
        settings["unconditional_prompt"] = questions[0].unconditional
    summary |= {"truncated": truncated, "settings": settings, "seconds": seconds}
    if in_training is not None:
        summary["contamination"] = in_training.summary(predicted)
        _log_contamination(run, benchmark.name, summary["contamination"], summary["rows"])
    return summary


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
    run: Run,
    name: str,
    questions: Sequence[Question],
    predicted: Sequence[rank.Prediction],
    in_training: Contamination | None,
) -> None:
    if not distributed.is_first():
        return
    rows = [_row(*pair) for pair in zip(questions, predicted, strict=True)]
    if in_training is not None:
        for index, row in enumerate(rows):
            row["contaminated"] = index in in_training.occurrences
    files.write_jsonl(run.path / layout.predictions(name), rows)


def _row(question: Question, prediction: rank.Prediction) -> dict[str, Any]:
    return {
        "id": question.id,
        "digest": question.digest,
        "subject": question.subject,
        "gold": "" if prediction.gold is None else LETTERS[prediction.gold],
        "prediction": LETTERS[prediction.choice],
        "scores": dict(zip(LETTERS, prediction.scores, strict=False)),
    }


def _log(run: Run, name: str, summary: dict[str, Any], truncated: int, seconds: float) -> None:
    """Log the accuracy of one benchmark, and whatever limits its meaning."""
    accuracy = _percent(summary["accuracy"], summary["interval"])
    majority = 100 * summary["majority"]
    run.log.info(
        "%s: accuracy %s on %d questions, majority baseline %.1f%%, %.0f questions/s",
        *(name, accuracy, summary["rows"], majority, summary["rows"] / seconds),
    )
    if (subjects := len(summary["by_subject"])) > 1:
        mean = _percent(summary["macro_accuracy"], summary["macro_interval"])
        run.log.info("%s: macro accuracy %s over %d subjects", name, mean, subjects)
    for category, figures in summary.get("by_category", {}).items():
        run.log.info(
            "%s, %s: accuracy %.1f%%, macro accuracy %.1f%% over %d subjects",
            *(name, category, 100 * figures["accuracy"], 100 * figures["macro_accuracy"]),
            figures["subjects"],
        )
    if by_reduction := summary.get("accuracy_by_reduction"):
        shares = ", ".join(f"{key} {100 * value:.1f}%" for key, value in by_reduction.items())
        run.log.info("%s: accuracy by reduction: %s", name, shares)
    if summary["ties"] > _TIES_TO_WARN_OF * summary["rows"]:
        run.log.warning(
            "%s: %d of %d questions have several options with the best score; the first option "
            "wins ties",
            *(name, summary["ties"], summary["rows"]),
        )
    if truncated:
        run.log.warning("%s: %d contexts were truncated on the left to max_length", name, truncated)


def _log_contamination(run: Run, name: str, figures: Mapping[str, Any], rows: int) -> None:
    if figures["not_compared"]:
        run.log.info(
            "%s: %d of %d questions have too few words of their own to be found in training data",
            *(name, figures["not_compared"], rows),
        )
    if not figures["flagged"]:
        run.log.info("%s: no question was found in the training data", name)
        return
    clean = figures["clean"]
    run.log.warning(
        "%s: %d of %d questions occur in the training data (contamination), see %s; accuracy "
        "without them: %s",
        *(name, figures["flagged"], rows, run.path / layout.contaminated(name)),
        _percent(clean["accuracy"], clean["interval"]) if clean else "no questions are left",
    )


def _percent(accuracy: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * accuracy:.1f}% (95% interval {100 * low:.1f} to {100 * high:.1f}%)"
