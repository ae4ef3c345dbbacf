"""Which of a run's checkpoints is the best, by what was measured while it trained."""

from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files


def measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements of a run by step; none where it has made none."""
    path = folder / layout.VALIDATION
    if not path.exists():
        return []
    return [row for _, row in files.read_jsonl(path) if isinstance(row, dict)]


def ranking(rows: list[dict[str, Any]], metric: str) -> list[int]:
    """Steps of measurements, the best first; of equals, the earlier. Losses are best when low."""
    sign = 1 if metric.endswith("loss") else -1
    return [row["step"] for row in sorted(rows, key=lambda row: (sign * row[metric], row["step"]))]


def best_step(folder: Path, steps: list[int]) -> int:
    """The one of a run's checkpoints, at `steps`, that did best by its config's metric.

    Raises UserError for a run that chose no metric, or measured none of these checkpoints.
    """
    config = files.read_json(folder / layout.CONFIG)["config"]
    metric = config.get("validation", {}).get("metric", "")
    if not metric:
        raise UserError(
            f"{folder}: was trained without config.validation.metric, so none of its checkpoints "
            f"is the best; name one of {', '.join(map(str, steps))}, as in "
            f"{folder}/checkpoints/{steps[-1]}"
        )
    measured = [row for row in measurements(folder) if row["step"] in steps]
    if not measured:
        raise UserError(
            f"{folder}: none of its checkpoints ({', '.join(map(str, steps))}) was measured; train "
            "with config.checkpoint.best=1, so that what is measured is kept"
        )
    return ranking(measured, metric)[0]
