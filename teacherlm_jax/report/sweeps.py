"""The section on groups of runs: runs that differ in few settings, as those of a sweep do."""

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import HELD_OUT
from teacherlm_jax.report.blocks import (
    Block,
    Cell,
    Heading,
    Paragraph,
    Subheading,
    Table,
    count,
    rounded,
)
from teacherlm_jax.report.collect import RunRecord, label
from teacherlm_jax.runs.identity import flatten

_MOST_KEYS = 4  # settings that the runs of a group differ in
_NO_FIGURE = "–"
_LOSS = "training loss"
_NO_SETTINGS = ("output", "root", "stands_for")


def section(runs: Sequence[RunRecord], root: epath.PathLike) -> list[Block]:
    """Return a table for each folder whose training runs differ in few settings.

    A folder whose runs differ in more settings has a sentence instead. Returns no blocks if no
    folder has several training runs with different settings.
    """
    blocks: list[Block] = []
    for folder, members in _folders(runs).items():
        swept = _differing([_settings(run) for run in members])
        if swept:
            few = len(swept) <= _MOST_KEYS
            content = _table(members, swept, root) if few else _too_different(members, swept)
            blocks += [Subheading(folder or "training runs"), content]
    return [Heading("Sweeps and other groups of runs"), *blocks] if blocks else []


def _folders(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return finished training runs by the folder above them, if it has several."""
    folders: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.verb == "train" and run.finished:
            folders.setdefault(run.name.rpartition("/")[0], []).append(run)
    return {folder: members for folder, members in folders.items() if len(members) > 1}


def _settings(run: RunRecord) -> Mapping[str, Any]:
    """Return the settings of a run by key, without those that change no result."""
    return {key: value for key, value in flatten(run.config).items() if key not in _NO_SETTINGS}


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for own in settings for key in own)
    return [key for key in keys if len({repr(own.get(key)) for own in settings}) > 1]


def _too_different(members: Sequence[RunRecord], swept: Sequence[str]) -> Paragraph:
    return Paragraph(
        f"The {len(members)} training runs of this folder are not compared: they differ in "
        f"{len(swept)} settings ({', '.join(swept[:_MOST_KEYS])} …), and a table shows up to "
        f"{_MOST_KEYS}."
    )


def _table(members: Sequence[RunRecord], swept: Sequence[str], root: epath.PathLike) -> Table:
    """Return the runs sorted by their metric, the best one first and marked."""
    name = _common_metric(members)
    sign = 1 if name.endswith("loss") else -1
    values = [run.result["best_metric" if name != _LOSS else "loss"] for run in members]
    known = sorted(sign * value for value in values if value is not None)
    of_data = name == _LOSS or name.startswith(f"{HELD_OUT}/")
    comparable = not (of_data and any(key.split(".")[-1] == "data" for key in swept))
    seeds_only = all(key.split(".")[-1] == "seed" for key in swept)
    places = sorted(
        zip(values, members, strict=True),
        key=lambda pair: (pair[0] is None, sign * (pair[0] or 0.0)),
    )
    rows: list[tuple[str | Cell, ...]] = []
    for value, run in places:
        settings = _settings(run)
        first = value is not None and sign * value == known[0] < known[-1]
        metric = (
            Cell(_NO_FIGURE)
            if value is None
            else Cell(rounded(value, 4), best=first and comparable and not seeds_only)
        )
        own = (_text(settings.get(key, _NO_FIGURE), root) for key in swept)
        rows.append((run.name.rpartition("/")[2], metric, *own, count(run.result["tokens"])))
    return Table(
        f"Training runs of one folder by the settings in which they differ, the best {name} first."
        + (
            "" if comparable else " Losses on different data are not comparable, so none is marked."
        ),
        ("run", name, *swept, "tokens"),
        tuple(rows),
        left=(0, *range(2, 2 + len(swept))),
    )


def _text(value: Any, root: epath.PathLike) -> str:
    """Return a setting as text; paths below the root are relative to it."""
    return label(value, root) if isinstance(value, str) and "/" in value else str(value)


def _common_metric(members: Sequence[RunRecord]) -> str:
    """Return the validation metric that all runs measured, or the loss on training data."""
    metrics = {run.config.get("validation", {}).get("metric", "") for run in members}
    validated = all(run.result.get("best_metric") is not None for run in members)
    return metrics.pop() if len(metrics) == 1 and validated and "" not in metrics else _LOSS
