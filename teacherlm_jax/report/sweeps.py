"""The section on groups of runs: runs that differ in few settings, as those of a sweep do."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import HELD_OUT
from teacherlm_jax.report import run_groups
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
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
from teacherlm_jax.report.run_groups import RunGroup

_LOSS = "training loss"
_MOST_NAMED = 4  # runs without a group that the page names


def section(runs: Sequence[RunRecord], root: epath.PathLike) -> list[Block]:
    """Return a table for each group of finished training runs, and name the runs without a group.

    Returns no blocks if there are no two training runs with different settings.
    """
    done = [run for run in runs if run.verb == "train" and run.finished]
    blocks: list[Block] = []
    grouped: set[str] = set()
    for group in run_groups.groups(done):
        blocks += [Subheading(group.title), _table(group, root)]
        grouped.update(run.name for run in group.runs)
    alone = [run for run in done if run.name not in grouped]
    if alone and len(done) > 1 and len({repr(run_groups.settings(run)) for run in done}) > 1:
        blocks.append(_without_group(alone))
    return [Heading("Sweeps and other groups of runs"), *blocks] if blocks else []


def _without_group(alone: Sequence[RunRecord]) -> Paragraph:
    names = ", ".join(run.name for run in alone[:_MOST_NAMED])
    return Paragraph(
        f"Training runs that differ from the others in more than {run_groups.MOST_KEYS} settings, "
        f"or in their data and folder: {names}{' …' if len(alone) > _MOST_NAMED else ''} "
        f"({count(len(alone))} in total)."
    )


def _table(group: RunGroup, root: epath.PathLike) -> Table:
    """Return the runs sorted by their metric, the best one first and marked."""
    members, swept = group.runs, group.keys
    one_folder = len({run_groups.folder_of(run) for run in members}) == 1
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
        settings = run_groups.settings(run)
        first = value is not None and sign * value == known[0] < known[-1]
        metric = (
            Cell(NO_FIGURE)
            if value is None
            else Cell(rounded(value, 4), best=first and comparable and not seeds_only)
        )
        own = (_text(settings.get(key, NO_FIGURE), root) for key in swept)
        shown = run.name.rpartition("/")[2] if one_folder else run.name
        rows.append((shown, metric, *own, count(run.result["tokens"])))
    return Table(
        f"Training runs by the settings in which they differ, the best {name} first."
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
