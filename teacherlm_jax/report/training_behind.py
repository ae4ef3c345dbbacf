"""The cost of a training run, and the settings of runs that change their results."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.config import BenchmarkConfig, TrainConfig, ValidationConfig
from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

_SOME_TRAINING = TrainConfig(validation=ValidationConfig(benchmarks=(BenchmarkConfig(),)))
NOT_SETTINGS = {
    *("seed", "stands_for"),
    *(key.rpartition(".")[2] for key in path_keys(_SOME_TRAINING)),
}


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """Cost of one training run up to a step, or its mean over several; earlier runs not included.

    Attributes:
        tokens: tokens that the run read, without padding.
        steps: its steps.
        flops: model FLOPs of its forward and backward passes.
    """

    tokens: float
    steps: float
    flops: float


def cost(training: RunRecord, step: int | None = None) -> TrainingCost:
    """Return the cost of a training run: FLOPs by its summary.json, or 6 · parameters · tokens.

    Up to a checkpoint of `step` steps, all three are scaled: those of the whole run times the share
    of its steps. None: the whole run.
    """
    steps, summary = training.result["step"], training.path / layout.SUMMARY
    share = step / steps if step and steps else 1.0
    recorded = files.read_json(summary) if summary.exists() else {}
    per_token = recorded.get("model_flops_per_token") or 6 * training.result.get("parameters", 0)
    tokens = training.result["tokens"] * share
    return TrainingCost(tokens, steps * share, per_token * tokens)


def mean_cost(costs: Sequence[TrainingCost]) -> TrainingCost | None:
    """Return the mean of several costs; None if there is none."""
    if not costs:
        return None
    return TrainingCost(
        *(sum(getattr(one, field.name) for one in costs) / len(costs)
          for field in dataclasses.fields(TrainingCost))
    )  # fmt: skip


def settings_of(evaluation: RunRecord, benchmark: str) -> Mapping[str, Any]:
    """Return the settings of an evaluation that change the answers to a question."""
    config = evaluation.config
    ignored = {"name", "limit", "limit_by", *NOT_SETTINGS}
    named = (one for one in config.get("benchmarks", ()) if one.get("name") == benchmark)
    own: Mapping[str, Any] = next(named, {})
    scored = {key: value for key, value in own.items() if key not in ignored}
    return scored | {key: config.get(key) for key in ("dtype", "max_length")}
