"""Recorded outcomes of the study: benchmarks/results/evidence/PART/seed-SEED.json.

A seed of a part is recorded when all of its steps are finished, so an interrupted run loses only
the seeds that it was working on, and several machines can share the seeds.
"""

import collections
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.evidence.student_tables import Rows
from teacherlm_jax.pipelines.evidence_steps import parts, study, study_real
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

Record = Mapping[str, Any]  # `machine`, `jax`, `commit`, and `rows`, the outcomes by their kind
KINDS = ("students", "bases", "teachers", "explained", "written", "real")


def run_folders(part: str, root: Path, seed: int) -> list[Path] | None:
    """Return the run folders of a part for a seed; None if one of its steps is not finished."""
    one = study.Study(file="", root=str(root), seeds=range(seed, seed + 1), short=False, tiny=False)
    folders = [Path(step.output) for step in parts.steps(one, part)]
    return folders if all((folder / layout.RESULT).exists() for folder in folders) else None


def write(part: str, seed: int, rows: Rows, folders: Iterable[Path]) -> None:
    """Record the outcomes of a seed, with the versions that the run folders name.

    Outcomes that are recorded already are left as they are, with the machine they are from.
    """
    path = _folder(part) / f"{study.word_of(seed)}.json"
    outcomes = {kind: [row for row in rows[kind] if row["seed"] == seed] for kind in KINDS}
    if path.exists() and _same(files.read_json(path)["rows"], outcomes):
        return
    versions = [files.read_json(folder / layout.VERSIONS) for folder in folders]
    record = {
        "machine": harness.machine(),
        "jax": _joined(one["packages"]["jax"] for one in versions),
        "commit": _joined(one["commit"] for one in versions),
        "rows": outcomes,
    }
    files.write_json(path, record)


def read(part: str) -> dict[int, Record]:
    """Return what is recorded of a part, by seed."""
    paths = _folder(part).glob("seed-*.json")
    found = {study.seed_of(path.stem): files.read_json(path) for path in paths}
    return dict(sorted(found.items()))


def all_rows() -> Rows:
    """Return the recorded outcomes of all parts; a base has the name of the part it was run for."""
    rows: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for part in parts.PARTS:
        for record in read(part).values():
            for kind in KINDS:
                rows[kind] += [
                    row | {"part": part} if kind == "bases" else row for row in record["rows"][kind]
                ]
    return rows


def conditions(part: str) -> str:
    """Return the lines below the tables of a part: time, machine and commit; then its command.

    They name the seeds of the protocol that are not recorded.
    """
    records = read(part)
    alike = collections.defaultdict(list)  # seeds, by where and with what they were run
    for seed, record in records.items():
        alike[record["machine"], record["jax"], record["commit"]].append(seed)
    lines = []
    for (machine, jax, commit), seeds in alike.items():
        hours = sum(core_hours(records[seed]["rows"]) for seed in seeds)
        lines.append(
            f"{seeds_in_words(seeds).capitalize()}: {hours:.1f} core-hours of training steps on "
            f"{machine}; jax {jax}; commit {_short(commit)}."
        )
    if missing := sorted(set(range(study.SEEDS)) - set(records)):
        lines.append(f"Not run yet: {seeds_in_words(missing)}.")
    data = " --data=data" if part == study_real.PART else ""
    lines.append(f"The command is `python -m benchmarks.evidence --parts={part}{data}`.")
    return "\n\n".join(lines) + "\n"


def core_hours(rows: Rows) -> float:
    """Return the time of the training steps of recorded outcomes, one core for each training."""
    real = (row for row in rows["real"] if row["benchmark"] == study_real.BENCHMARKS[0])
    trained = (*rows["students"], *rows["bases"], *rows["teachers"], *real)
    return sum(row["seconds"] for row in trained) / 3600


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Return sorted seeds in words, such as `seed 3`, `seeds 0 to 4` or `seeds 0, 2, 3`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    adjacent = seeds[-1] - seeds[0] == len(seeds) - 1
    return f"seeds {seeds[0]} to {seeds[-1]}" if adjacent else f"seeds {', '.join(map(str, seeds))}"


def _folder(part: str) -> Path:
    return harness.RESULTS / "evidence" / part


def _same(recorded: Rows, outcomes: Rows) -> bool:
    """Return whether outcomes are equal, whether their curves have tuples or lists."""
    return json.dumps(recorded, sort_keys=True) == json.dumps(outcomes, sort_keys=True)


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _short(commits: str) -> str:
    """Return commits as in `harness.conditions`: seven digits, and whether the code differed."""
    return ", ".join(f"{one[:7]}{one[40:]}" for one in commits.split(", "))
