"""The section on costs: what each run used, in total by command, and where training time went."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Cell,
    Heading,
    Table,
    count,
    percent,
    rounded,
)
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.training_behind import cost
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.wording import counted

HEADER = (  # of a run's figures
    *("amount", "tokens", "generated or scored", "FLOPs", "time", "chips", "chip-hours", "money"),
)
_ACTIVITIES = ("start", "compile", "input", "checkpoint", "validation", "repeated")
_CAPTION = (
    "Costs of each run, and in total by command. Tokens: those prepared, trained on, of prompts "
    "(annotate) or read by the model (evaluate). FLOPs: model FLOPs of the passes, padding and "
    "recomputation not counted. Time: wall-clock time, of several processes together. Chip-hours: "
    "time multiplied with the devices that were held. Money: what servers charge by the prices in "
    "the config. A cell is empty where nothing was recorded; totals leave it out."
)


@dataclasses.dataclass(frozen=True)
class RunCosts:
    """Figures of what a run used; None: it does not apply, or was not recorded.

    Attributes:
        texts: texts that were prepared or generated, or questions.
        tokens: tokens that were prepared or read.
        made: tokens that were generated or scored.
        flops: model FLOPs.
        seconds: wall-clock time, that of several processes added up.
        chips: devices that one process, or several with one model, held.
        chip_seconds: time multiplied with the devices.
        money: what servers charged.
        device: kinds of the devices.
    """

    texts: int | None = None
    tokens: int | None = None
    made: int | None = None
    flops: float | None = None
    seconds: float | None = None
    chips: int | None = None
    chip_seconds: float | None = None
    money: float | None = None
    device: str = ""


def section(runs: Sequence[RunRecord]) -> list[Block]:
    """Return the blocks of the section, none if no run that has costs is finished."""
    done = [run for run in runs if run.finished and run.verb in _COSTS]
    if not done:
        return []
    blocks: list[Block] = [Heading("Costs"), _table(done)]
    trainings = [run for run in done if run.verb == "train"]
    if trainings:
        blocks.append(_times(trainings))
    return blocks


def _table(runs: Sequence[RunRecord]) -> Table:
    costs = [(run, _COSTS[run.verb](run)) for run in runs]
    rows = [(run.name, run.verb, *_cells(run.verb, own)) for run, own in costs]
    totals = []
    for verb in _COSTS:
        of_verb = [own for run, own in costs if run.verb == verb]
        if of_verb:
            totals.append(("total", verb, *_cells(verb, _total(of_verb))))
    header = ("run", "command", *HEADER)
    used = [index for index in range(len(header)) if any(row[index] for row in rows)]

    def shown(row: Sequence[str | Cell]) -> tuple[str | Cell, ...]:
        return tuple(row[index] for index in used)

    return Table(
        _CAPTION,
        tuple(header[index] for index in used),
        tuple(map(shown, rows)),
        left=(0, 1),
        totals=tuple(map(shown, totals)),
    )


_NOUNS = {"prepare": "text", "annotate": "text", "evaluate": "question"}


def _cells(verb: str, own: RunCosts) -> tuple[str | Cell, ...]:
    """Return the cells of `HEADER`; those without a figure are empty."""

    def cell(value: float | None, text: Callable[[Any], str], beside: str = "") -> str | Cell:
        return "" if value is None else Cell(text(value), beside, order=value)

    return (
        cell(own.texts, lambda number: counted(number, _NOUNS[verb])),
        cell(own.tokens, count),
        cell(own.made, count),
        cell(own.flops, lambda number: f"{number:.2e}"),
        cell(own.seconds, _time),
        cell(own.chips, count, own.device),
        cell(own.chip_seconds and own.chip_seconds / 3600, lambda hours: rounded(hours, 2)),
        cell(own.money, lambda money: rounded(money, 4)),
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{rounded(seconds / 3600, 2)} h"


def _total(costs: Sequence[RunCosts]) -> RunCosts:
    """Return the sum of each figure over the runs that have it; devices have no sum."""
    sums: dict[str, Any] = {}
    for field in dataclasses.fields(RunCosts):
        values = [value for own in costs if (value := getattr(own, field.name)) is not None]
        if field.name not in ("chips", "device") and values:
            sums[field.name] = sum(values)
    return RunCosts(**sums)


def _of_training(run: RunRecord) -> RunCosts:
    summary = _summary(run)
    seconds, chips = summary.get("wall_seconds", run.result.get("seconds")), summary.get("chips")
    known = seconds is not None and chips is not None
    return RunCosts(
        tokens=run.result["tokens"],
        flops=cost(run).flops,
        seconds=seconds,
        chips=chips,
        chip_seconds=seconds * chips if known else None,
        device=summary.get("device", ""),
    )


def _of_annotation(run: RunRecord) -> RunCosts:
    own = run.result.get("costs")
    if own is None:
        return RunCosts()
    return RunCosts(
        texts=own["texts"],
        tokens=own["prompt_tokens"],
        made=own["new_tokens"],
        flops=own["flops"],
        seconds=own["seconds"],
        chips=own["chips"],
        chip_seconds=own["chip_seconds"],
        money=own["money"],
        device=", ".join(own["devices"]),
    )


def _of_evaluation(run: RunRecord) -> RunCosts:
    own = run.result.get("costs")
    if own is None:
        return RunCosts()
    return RunCosts(
        texts=own["questions"],
        tokens=own["tokens"],
        made=own["scored_tokens"],
        flops=own["flops"],
        seconds=own["seconds"],
        chips=own["chips"],
        chip_seconds=own["seconds"] * own["chips"],
        device=", ".join(own["devices"]),
    )


def _of_preparation(run: RunRecord) -> RunCosts:
    own = run.result.get("costs")
    if own is None:
        return RunCosts()
    return RunCosts(texts=own["texts"], tokens=own["tokens"], seconds=own["seconds"])


_COSTS: Mapping[str, Callable[[RunRecord], RunCosts]] = {
    "prepare": _of_preparation,
    "train": _of_training,
    "annotate": _of_annotation,
    "evaluate": _of_evaluation,
}


def _summary(run: RunRecord) -> Mapping[str, Any]:
    path = run.path / layout.SUMMARY
    return files.read_json(path) if path.exists() else {}


def _times(runs: Sequence[RunRecord]) -> Table:
    """Return where the time of training runs went."""
    rows = []
    for run in runs:
        summary = _summary(run)
        goodput = percent(summary["goodput"]) if "goodput" in summary else NO_FIGURE
        rows.append((run.name, goodput, _other(summary.get("share", {}))))
    return Table(
        "Time of training runs. Goodput: the share of the time in which steps ran; the rest is "
        "listed by activity, in per cent.",
        ("run", "goodput, %", "other"),
        tuple(rows),
        left=(0, 2),
    )


def _other(share: Mapping[str, float]) -> str:
    """Return the shares of the time that was not spent on steps, from 1% on, the largest first."""
    parts = sorted(((share.get(name, 0), name) for name in _ACTIVITIES), reverse=True)
    return ", ".join(f"{name} {percent(part)}" for part, name in parts if part >= 0.01) or NO_FIGURE
