"""The section on costs: what each training run used, and where its time went."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.report.blocks import Block, Cell, Heading, Table, count, percent, rounded
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.training_behind import cost
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

_ACTIVITIES = ("start", "compile", "input", "checkpoint", "validation", "repeated")
_NO_FIGURE = "–"  # a run of an earlier version, or one whose time was not recorded


def section(runs: Sequence[RunRecord]) -> list[Block]:
    """Return the blocks of the section, none if no training run has finished."""
    done = [run for run in runs if run.verb == "train" and run.finished]
    if not done:
        return []
    return [
        Heading("Costs"),
        Table(
            "Costs of training. FLOPs: model FLOPs of all passes. Hours: wall-clock time of the "
            "last start of the command, or of all steps if it was not recorded. Goodput: the share "
            "of this time in which steps ran; the rest is listed by activity, in per cent.",
            ("run", "tokens", "FLOPs", "hours", "chips", "chip-hours", "goodput, %", "other"),
            tuple(_row(run) for run in done),
            left=(0, 7),
        ),
    ]


def _row(run: RunRecord) -> tuple[str | Cell, ...]:
    path = run.path / layout.SUMMARY
    summary: Mapping[str, Any] = files.read_json(path) if path.exists() else {}
    own, seconds = cost(run), summary.get("wall_seconds", run.result.get("seconds", 0))
    hours, chips = seconds / 3600, summary.get("chips")
    return (
        run.name,
        count(run.result["tokens"]),
        Cell(f"{own.flops:.2e}", order=own.flops),
        rounded(hours, 2),
        _NO_FIGURE if chips is None else count(chips),
        _NO_FIGURE if chips is None else rounded(hours * chips, 2),
        percent(summary["goodput"]) if "goodput" in summary else _NO_FIGURE,
        _other(summary.get("share", {})),
    )


def _other(share: Mapping[str, float]) -> str:
    """Return the shares of the time that was not spent on steps, from 1% on, the largest first."""
    parts = sorted(((share.get(name, 0), name) for name in _ACTIVITIES), reverse=True)
    return (
        ", ".join(f"{name} {percent(part)}" for part, name in parts if part >= 0.01) or _NO_FIGURE
    )
