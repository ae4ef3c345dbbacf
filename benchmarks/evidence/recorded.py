"""Recorded outcomes of each part of the study: benchmarks/results/evidence_PART.json.

A part can be run with a few seeds at a time. Each run adds the outcomes of its seeds, in place of
those that the same seeds had.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.evidence.student_tables import Rows
from teacherlm_jax.pipelines.evidence_steps import study, study_real
from teacherlm_jax.storage import files

Record = Mapping[str, Any]  # `runs`: seeds, commit and machine of each run; `rows`: its outcomes


def read(part: str) -> Record | None:
    """Return what is recorded of a part, or None."""
    path = _path(part)
    return files.read_json(path) if path.exists() else None


def add(part: str, rows: Rows, seeds: Collection[int]) -> None:
    """Record the outcomes of a part with these seeds, and how they were measured."""
    earlier = read(part) or {"runs": [], "rows": {}}
    runs = [
        run | {"seeds": [seed for seed in run["seeds"] if seed not in seeds]}
        for run in earlier["runs"]
    ]
    new = {
        "seeds": sorted(seeds),
        "commit": harness.commit(),
        "measured": harness.conditions().strip(),
    }
    merged = {
        name: [row for row in earlier["rows"].get(name, ()) if row["seed"] not in seeds] + found
        for name, found in rows.items()
    }
    files.write_json(
        _path(part),
        {
            "runs": sorted((run for run in (*runs, new) if run["seeds"]), key=_seeds_of),
            "rows": merged,
        },
    )


def conditions(record: Record) -> str:
    """Return the lines below the tables of a part: time, machine and commit of each run.

    They name the seeds of the protocol that have not been run.
    """
    lines = []
    for run in record["runs"]:
        took = hours(record["rows"], run["seeds"])
        lines.append(f"The trainings of {words(run['seeds'])} took {took:.1f} hours of one core.")
        lines.append(run["measured"])
    done = {seed for run in record["runs"] for seed in run["seeds"]}
    if missing := sorted(set(range(study.SEEDS)) - done):
        lines.append(f"Not run yet: {words(missing)}.")
    return "\n\n".join(lines) + "\n"


def hours(rows: Rows, seeds: Collection[int] = range(study.SEEDS)) -> float:
    """Return the time that the trainings with these seeds took, in hours of one core."""
    real = (row for row in rows.get("real", ()) if row["benchmark"] == study_real.BENCHMARKS[0])
    trainings = (*rows["students"], *rows["teachers"], *real)
    return sum(row["seconds"] for row in trainings if row["seed"] in seeds) / 3600


def words(seeds: Sequence[int]) -> str:
    """Return sorted seeds in words, such as `seed 3`, `seeds 0 to 4` or `seeds 0, 2, 3`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    adjacent = seeds[-1] - seeds[0] == len(seeds) - 1
    return f"seeds {seeds[0]} to {seeds[-1]}" if adjacent else f"seeds {', '.join(map(str, seeds))}"


def _path(part: str) -> Path:
    return harness.RESULTS / f"evidence_{part}.json"


def _seeds_of(run: Mapping[str, Any]) -> list[int]:
    return run["seeds"]
