"""Result of a finished training run, and summary of its speed and time."""

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.training.chronometer import Chronometer, clock
from teacherlm_jax.training.flops import Utilization
from teacherlm_jax.training.metrics_log import MetricsLog
from teacherlm_jax.training.setup import ModelSpec
from teacherlm_jax.training.validation import Validation


def result(
    steps: int,
    spec: ModelSpec,
    metrics: MetricsLog,
    chrono: Chronometer,
    validation: Validation,
    checkpoints: Checkpoints,
) -> dict[str, Any]:
    """Return the result of a run of `steps` steps on a model, JSON-serializable.

    `loss` (nats) and `accuracy` are means over the trained tokens of the last progress line that
    had any; None if there was none. `tokens` (padding not counted) and `seconds` (compiling,
    validating and saving not counted) are of the whole run. With LoRA, `trained_parameters` is the
    number of parameters of the adapters. With `config.validation.metric`, the
    result also has the keys of `validated`.
    """
    seconds = chrono.training_seconds
    return {
        **{key: metrics.last.get(key) for key in ("loss", "accuracy")},
        "step": metrics.step,
        "steps": steps,
        "stopped_early": metrics.step < steps,
        "tokens": metrics.tokens,
        "seconds": seconds,
        "tokens_per_second": metrics.tokens / seconds,
        "parameters": spec.parameters,
        **({"trained_parameters": spec.trained} if spec.trained < spec.parameters else {}),
        "checkpoint": str(checkpoints.path(metrics.step)),
        **validated(validation, checkpoints),
    }


def validated(validation: Validation, checkpoints: Checkpoints) -> dict[str, Any]:
    """Return the best and last values of `config.validation.metric`; empty without one.

    `best_metric` was measured at `best_step`, whether its checkpoint was kept or not;
    `best_checkpoint` is missing if it was not. `final_metric` is that of the last validation.
    """
    ranking = validation.ranking()
    if not ranking:
        return {}
    best = ranking[0]
    kept = best in checkpoints.steps()
    return {
        "best_metric": validation.value(best),
        "best_step": best,
        "final_metric": validation.value(max(ranking)),
        **({"best_checkpoint": str(checkpoints.path(best))} if kept else {}),
    }


def summary(metrics: MetricsLog, chrono: Chronometer, utilization: Utilization) -> dict[str, Any]:
    """Return the content of `summary.json`: steps, tokens, speed, and time by activity.

    See `Utilization.summary` and `Chronometer.summary`.
    """
    return {
        "steps": metrics.step,
        "tokens": metrics.tokens,
        **utilization.summary(metrics.tokens, chrono.training_seconds),
        **chrono.summary(),
    }


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return a summary in one line, such as `912 tokens/s per chip; 12:05 total: steps 93%`."""
    spent = sorted(summary["share"].items(), key=lambda item: -item[1])
    activities = ", ".join(f"{name} {share:.0%}" for name, share in spent if share >= 0.005)
    mfu = f", mfu {summary['mfu']:.2f}" if "mfu" in summary else ""
    return (
        f"{summary['tokens_per_second_per_chip']:,.0f} tokens/s per chip{mfu}; "
        f"{clock(summary['wall_seconds'])} total: {activities}"
    )
