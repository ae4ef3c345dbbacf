"""The best of a run's checkpoints, by validation during training or by the choice of readers."""

import math
from typing import Any

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def measurements(folder: epath.Path) -> list[dict[str, Any]]:
    """Return the rows of a run's `validation.jsonl`, one per validated step; none without it."""
    path = folder / layout.VALIDATION
    if not path.exists():
        return []
    return [row for _, row in files.read_jsonl(path) if isinstance(row, dict)]


def ranking(rows: list[dict[str, Any]], metric: str) -> list[int]:
    """Return the validated steps, the best first; of equal ones the earlier.

    Steps without a checkpoint are ranked too. For a loss, lower is better; for all other metrics,
    higher is better. Steps whose value is not a finite number are left out.
    """
    sign = 1 if metric.endswith("loss") else -1
    numbers = [row for row in rows if _is_number(row.get(metric))]
    ranked = sorted(numbers, key=lambda row: (sign * row[metric], row["step"]))
    return [row["step"] for row in ranked]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def best_step(folder: epath.Path, steps: list[int]) -> int:
    """Return the step of a run's best checkpoint.

    It is the one that readers chose (`teacherlm report --ratings … --config.select=RUN`) or, if
    they chose none, the best by `config.validation.metric`.

    Args:
        folder: the run folder.
        steps: steps of the checkpoints that exist.

    Raises UserError if the chosen checkpoint is missing, if the run has no metric, or if none of
    these checkpoints was validated.
    """
    if files.exists(recorded_at(folder)):
        return _chosen(recorded_at(folder), steps)
    config = files.read_json(folder / layout.CONFIG)["config"]
    metric = config.get("validation", {}).get("metric", "")
    if not metric:
        raise UserError(
            f"{folder}: was trained without config.validation.metric, so its best checkpoint is "
            f"unknown; name one of {', '.join(map(str, steps))}, as in "
            f"{folder}/checkpoints/{steps[-1]}, or choose one by reading"
        )
    validated = [row for row in measurements(folder) if row["step"] in steps]
    ranked = ranking(validated, metric)
    if not ranked:
        raise UserError(
            f"{folder}: none of its checkpoints ({', '.join(map(str, steps))}) has a value of "
            f"{metric}; name one, as in {folder}/checkpoints/{steps[-1]}, or train with "
            "config.checkpoint.best=1, which keeps the best one"
        )
    return ranked[0]


def recorded_at(folder: epath.PathLike) -> epath.Path:
    """Return the file with the choice of readers in a run folder."""
    return StoragePath(folder) / layout.SELECTION


def _chosen(path: epath.Path, steps: list[int]) -> int:
    record = files.read_json(path)
    step = record.get("step") if isinstance(record, dict) else None
    if step not in steps:
        raise UserError(
            f"{path}: chose the checkpoint of step {step}, but the run has those of "
            f"{', '.join(map(str, steps))}; remove this file, or choose again with "
            "`teacherlm report --ratings`"
        )
    return step
