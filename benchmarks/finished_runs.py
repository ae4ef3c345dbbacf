"""Folders of finished runs with invented figures: the files of each that a report reads."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, to_row
from teacherlm_jax.models import registry
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

METRIC = f"{config.HELD_OUT}/loss"
VALIDATIONS = 20  # of a training
_EVERY = 10  # steps between two points of the training loss
_SECONDS, _TOKENS = 0.5, 65_536  # of a step
_GATES = ("finished", "not_empty", "concludes_answer", "no_repetition")


def write_training(folder: Path, data: Path, number: int, points: int) -> None:
    """Write the files of a finished training run whose loss was logged at `points` steps.

    `number` decides its learning rate and its curve.
    """
    steps = points * _EVERY
    settings = config.TrainConfig(
        output=str(folder),
        data=str(data / "train"),
        model=registry.shape("bloom-560m"),
        optimizer=config.OptimizerConfig(learning_rate=1e-5 * (number + 1)),
        steps=steps,
        log_every=_EVERY,
        validation=config.ValidationConfig(
            every=steps // VALIDATIONS, data=str(data / "held_out"), metric=METRIC
        ),
    )
    _write_start(folder, "train", settings)
    rows = [_metrics(step, number) for step in range(_EVERY, steps + 1, _EVERY)]
    files.write_jsonl(folder / layout.METRICS, rows)
    validations = [
        {"step": row["step"], METRIC: row["loss"] + 0.1, f"{config.HELD_OUT}/accuracy": 0.6}
        for row in rows[points // VALIDATIONS - 1 :: points // VALIDATIONS]
    ]
    files.write_jsonl(folder / layout.VALIDATION, validations)
    best = min(validations, key=lambda row: row[METRIC])
    result = {
        **{key: rows[-1][key] for key in ("step", "loss", "accuracy", "tokens_per_second")},
        "steps": steps,
        "tokens": steps * _TOKENS,
        "seconds": steps * _SECONDS,
        "parameters": 559_214_592,
        "checkpoint": str(folder / layout.CHECKPOINTS / str(steps)),
        "best_metric": best[METRIC],
        "best_step": best["step"],
        "final_metric": validations[-1][METRIC],
    }
    files.write_json(folder / layout.RESULT, result)
    summary = {"chips": 4, "device": "TPU v5 lite", "wall_seconds": steps * _SECONDS + 60}
    summary |= {"model_flops_per_token": 3.9e9}
    files.write_json(folder / layout.SUMMARY, summary)


def write_annotation(folder: Path, rows: int) -> None:
    """Write the samples of an annotation run: generated questions with three explanations each."""
    annotated = {
        "author": "teacher",
        "teacher": "runs/teacher/checkpoints/600",
        "step": 600,
        "model_digest": f"sha256:{0:064}",
        "new_tokens": 40,
        "finish_reason": "eos",
        "gates": dict.fromkeys(_GATES, True),
    }
    samples = []
    for sample in synthetic.generate(rows, seed=0):
        texts = {kind: next(iter(sample.explanations[kind].values())) for kind in KINDS}
        explanations = {kind: {"teacher": text} for kind, text in texts.items()}
        annotations = {kind: annotated | {"source": sample.source} for kind in KINDS}
        row = to_row(sample) | {"explanations": explanations, "annotations": annotations}
        samples.append(row)
    files.write_jsonl(folder / layout.SAMPLES / "part-00000-of-00001.jsonl", samples)


def _write_start(folder: Path, verb: str, settings: Any) -> None:
    content = {"verb": verb, "config": dataclasses.asdict(settings)}
    files.write_json(folder / layout.CONFIG, content)
    versions = {"commit": f"{0:040}", "packages": {"jax": "0.10.2"}}
    files.write_json(folder / layout.VERSIONS, versions)


def _metrics(step: int, number: int) -> dict[str, float]:
    loss = 3 / (1 + step / 900) + 0.05 * math.sin(step * (number + 1)) + 0.3 + number / 1000
    speed = _TOKENS / _SECONDS
    return {
        "step": step,
        "loss": loss,
        "accuracy": 0.9 - loss / 5,
        "loss_tokens": 60_000.0,
        "grad_norm": 1.5,
        "learning_rate": 1e-4,
        "seconds": 10 * _SECONDS,
        "tokens_per_second": speed,
        "tokens_per_second_per_chip": speed / 4,
    }
