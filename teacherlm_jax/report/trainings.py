"""The section on training runs: where each started, how long it ran, loss and validation."""

from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import (
    Block,
    Figure,
    Heading,
    Paragraph,
    Table,
    count,
    percent,
    rounded,
)
from teacherlm_jax.report.collect import RunRecord


def section(runs: Sequence[RunRecord], root: epath.PathLike) -> list[Block]:
    """Return the blocks of the section, none if nothing was trained.

    Unfinished runs appear in the figure only.
    """
    trainings = [run for run in runs if run.verb == "train"]
    if not trainings:
        return []
    done = [run for run in trainings if run.finished]
    blocks: list[Block] = [Heading("Training"), *_figure(trainings)]
    if done:
        blocks.append(_table(done, root))
    if validated := [run for run in done if "best_step" in run.result]:
        blocks.append(_validation_table(validated))
    return blocks


def _figure(runs: Sequence[RunRecord]) -> list[Block]:
    lines = []
    for run in runs:
        metrics = [row for row in run.metrics if "step" in row and row.get("loss") is not None]
        if metrics:
            steps, losses = [row["step"] for row in metrics], [row["loss"] for row in metrics]
            lines.append((run.name, steps, losses))
    if not lines:
        return [Paragraph("No loss curves: no run has a loss in its metrics.jsonl.")]
    ends = ", ".join(f"{name} {losses[-1]:.3f}" for name, _, losses in lines)
    return [
        Figure(
            name="loss",
            drawing=figures.curves(lines, "step", "loss (nats per token)"),
            caption="Training loss over the tokens with loss, from the metrics.jsonl of each run. "
            "Losses are comparable only between runs with the same data and the same loss tokens.",
            description=f"Training loss by step; final values: {ends}",
        )
    ]


def _or_na(value: float | None, text: Callable[[float], str]) -> str:
    return "n/a" if value is None else text(value)


def _table(runs: Sequence[RunRecord], root: epath.PathLike) -> Table:
    rows = []
    for run in runs:
        result = run.result
        rows.append(
            (
                run.name,
                _initial_model(run, root),
                _steps(result),
                count(result["tokens"]),
                _or_na(result["loss"], lambda loss: rounded(loss, 3)),
                _or_na(result["accuracy"], percent),
                rounded(result["tokens_per_second"], 0),
            )
        )
    return Table(
        "Training runs. Loss (nats per token) and next-token accuracy (%) are those of the last "
        "progress line, over the tokens with loss.",
        ("run", "initial model", "steps", "tokens", "loss", "accuracy, %", "tokens/s"),
        tuple(rows),
        left=(0, 1),
    )


def _initial_model(run: RunRecord, root: epath.PathLike) -> str:
    """Return the label of the model that a run started from, with the rank of its adapters."""
    start, rank = run.config.get("init_from", ""), run.config.get("lora", {}).get("rank", 0)
    label = run.input_label("init_from", start, root) if start else "random"
    return f"{label} (LoRA, rank {rank})" if rank else label


def _steps(result: dict[str, Any]) -> str:
    """Return the number of steps; of a run that stopped early, with that of its config."""
    step, steps = result["step"], result["steps"]
    return count(step) if step >= steps else f"{count(step)} of {count(steps)}"


def _validation_table(runs: Sequence[RunRecord]) -> Table:
    """Return the best and the final value of each run's validation metric."""
    rows = []
    for run in runs:
        result = run.result
        rows.append(
            (
                run.name,
                run.config.get("validation", {}).get("metric", "–"),
                rounded(result["best_metric"], 4),
                count(result["best_step"]),
                rounded(result["final_metric"], 4),
                "kept" if "best_checkpoint" in result else "not kept",
            )
        )
    return Table(
        "Validation metrics. Best: the best of all validations, at the step beside it. Final: the "
        "last validation. The checkpoint of the best step is kept with config.checkpoint.best=1.",
        ("run", "metric", "best", "at step", "final", "best checkpoint"),
        tuple(rows),
        left=(0, 1, 5),
    )
