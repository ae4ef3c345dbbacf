"""The section on training runs: where each started, how long it ran, loss and validation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.config import HELD_OUT
from teacherlm_jax.report import figures, run_groups
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
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

_Placed = tuple[str, str, figures.Curve]  # data, title of the group, curve


def section(runs: Sequence[RunRecord], root: epath.PathLike) -> list[Block]:
    """Return the blocks of the section, none if nothing was trained.

    Unfinished runs appear in the figure only.
    """
    trainings = [run for run in runs if run.verb == "train"]
    if not trainings:
        return []
    done = [run for run in trainings if run.finished]
    groups = {run.name: group.title for group in run_groups.groups(runs) for run in group.runs}
    blocks: list[Block] = [Heading("Training"), *_figure(trainings, root, groups)]
    if done:
        blocks.append(_table(done, root))
    if validated := [run for run in done if "best_step" in run.result]:
        blocks.append(_validation_table(validated))
    blocks += _validation_figures(trainings, root, groups)
    return blocks


def _figure(
    runs: Sequence[RunRecord], root: epath.PathLike, groups: Mapping[str, str]
) -> list[Block]:
    """Return the curves of the training loss; `groups` has the title of the group of each run."""
    curves = []
    for run in runs:
        metrics = [row for row in run.metrics if "step" in row and row.get("loss") is not None]
        if metrics:
            steps, losses = [row["step"] for row in metrics], [row["loss"] for row in metrics]
            curves.append((_data(run, root), groups.get(run.name, ""), (run.name, steps, losses)))
    if not curves:
        return [Paragraph("No loss curves: no run has a loss in its metrics.jsonl.")]
    caption = "Training loss over the tokens with loss, from the metrics.jsonl of each run."
    return _apart("loss", curves, "loss (nats per token)", caption)


def _validation_figures(
    runs: Sequence[RunRecord], root: epath.PathLike, groups: Mapping[str, str]
) -> list[Block]:
    """Return the curves of each validation metric; those of held-out rows by training data."""
    curves: dict[str, list[_Placed]] = {}
    for run in runs:
        rows = selection.measurements(run.path)
        for metric in dict.fromkeys(key for row in rows for key in row if key != "step"):
            points = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                data = _data(run, root) if metric.startswith(f"{HELD_OUT}/") else ""
                placed = (data, groups.get(run.name, ""), (run.name, steps, values))
                curves.setdefault(metric, []).append(placed)
    blocks: list[Block] = []
    for metric, own in curves.items():
        name = f"validation-{metric.replace('/', '-')}"
        caption = f"Validation: {metric}, from the validation.jsonl of each run."
        blocks += _apart(name, own, metric, caption)
    return blocks


def _data(run: RunRecord, root: epath.PathLike) -> str:
    return run.input_label("data", run.config.get("data", ""), root)


def _apart(name: str, curves: Sequence[_Placed], up: str, caption: str) -> list[Block]:
    """Return a figure for the curves of each data and each group of runs.

    Curves of different data are not comparable. The runs of a group, such as a sweep, are together,
    and apart from other runs on the same data.
    """
    places: dict[tuple[str, str], list[figures.Curve]] = {}
    for data, group, curve in curves:
        places.setdefault((data, group), []).append(curve)
    blocks: list[Block] = []
    for number, ((data, group), own) in enumerate(places.items(), start=1):
        ends = ", ".join(f"{run} {values[-1]:.3f}" for run, _, values in own)
        notes = f" Data: {data}." if data else ""
        notes += f" Group: {group}." if group and len(own) > 1 else ""
        blocks.append(
            Figure(
                name=f"{name}-{number}" if len(places) > 1 else name,
                drawing=figures.curves(own, "step", up),
                caption=caption + notes,
                description=f"{up} by step; final values: {ends}",
            )
        )
    return blocks


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
                run.config.get("validation", {}).get("metric", NO_FIGURE),
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
