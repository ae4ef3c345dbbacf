"""The section on trainings: what was trained from what, for how long, and how the loss fell."""

from collections.abc import Callable, Sequence
from pathlib import Path

from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import (
    Block,
    Heading,
    Paragraph,
    SvgFigure,
    Table,
    count,
    percent,
    rounded,
)
from teacherlm_jax.report.collect import RunRecord, label


def section(runs: Sequence[RunRecord], root: Path | str) -> list[Block]:
    """Blocks of the section; none when nothing was trained. Unfinished runs show their curves."""
    trainings = [run for run in runs if run.verb == "train"]
    if not trainings:
        return []
    done = [run for run in trainings if run.finished]
    blocks: list[Block] = [Heading("Training"), *_figure(trainings)]
    if done:
        blocks.append(_table(done, root))
    return blocks


def _figure(runs: Sequence[RunRecord]) -> list[Block]:
    lines = []
    for run in runs:
        metrics = [row for row in run.metrics if "step" in row and "loss" in row]
        if metrics:
            steps, losses = [row["step"] for row in metrics], [row["loss"] for row in metrics]
            lines.append((run.name, steps, losses))
    if not lines:
        return [Paragraph("No loss curves: none of these runs has a loss in its metrics.jsonl.")]
    ends = ", ".join(f"{name} {losses[-1]:.3f}" for name, _, losses in lines)
    return [
        SvgFigure(
            name="loss",
            svg=figures.curves(lines, "step", "loss, nats a token"),
            caption="Training loss over the tokens that bear loss, from each run's metrics.jsonl. "
            "Runs with other data or other loss tokens do not compare.",
            description=f"Training loss by step; at the end: {ends}",
        )
    ]


def _or_na(value: float | None, text: Callable[[float], str]) -> str:
    return "n/a" if value is None else text(value)


def _table(runs: Sequence[RunRecord], root: Path | str) -> Table:
    rows = []
    for run in runs:
        result = run.result
        rows.append(
            (
                run.name,
                label(run.config.get("init_from", ""), root) or "random",
                count(result["steps"]),
                count(result["tokens"]),
                _or_na(result["loss"], lambda loss: rounded(loss, 3)),
                _or_na(result["accuracy"], percent),
                rounded(result["tokens_per_second"], 0),
            )
        )
    return Table(
        "Trainings by run folder. Loss (nats a token) and next-token accuracy (%) are those of the "
        "last steps, over the tokens that bear loss.",
        ("run", "started from", "steps", "tokens", "loss", "accuracy", "tokens/s"),
        tuple(rows),
        left=(0, 1),
    )
