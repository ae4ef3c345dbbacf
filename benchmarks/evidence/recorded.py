"""Recorded outcomes of the study: benchmarks/results/evidence/PART/seed-SEED.json.

A seed of a part is recorded when all of its steps are finished, so an interrupted run loses only
the seeds that it was working on, and several machines can share the seeds.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from benchmarks import harness
from benchmarks.evidence import outcomes, student_tables
from benchmarks.evidence.outcomes import Rows
from teacherlm_jax import config
from teacherlm_jax.cli import config_file
from teacherlm_jax.config import train_config
from teacherlm_jax.pipelines.evidence_steps import parts, study, study_real, study_students
from teacherlm_jax.runs import layout, recorded_settings, versions
from teacherlm_jax.storage import files

# `machine` that recorded the seed, `jax` and `commit` of its runs, `training_seconds` of them, and
# `rows`, its outcomes by kind.
Record = Mapping[str, Any]
CONFIG = harness.ROOT / "configs" / "evidence.py"
_SEPARATOR = ", "  # between several versions or commits of the runs of a seed


def finished_steps(part: str, root: Path, seed: int) -> list[config.StepConfig] | None:
    """Return the steps of a part for a seed; None unless all of them are finished.

    Raises UserError for a run with other settings than those of this version of the study, as the
    run itself would.
    """
    one_seed = study.Study(
        file="", root=str(root), seeds=range(seed, seed + 1), short=False, tiny=False
    )
    steps = [*parts.steps(one_seed, part)]
    configs = config_file.load(CONFIG)
    return steps if all(_is_finished(step, configs) for step in steps) else None


def _is_finished(step: config.StepConfig, configs: Any) -> bool:
    folder = epath.Path(step.output)
    if not (folder / layout.RESULT).exists():
        return False
    settings = configs.get_config(step.config.partition(":")[2])
    may_change = train_config.CHANGEABLE if step.verb == "train" else ()
    recorded_settings.compare(
        folder, step.verb, settings, may_change, lambda before, now: (), begun=True
    )
    return True


def write(part: str, root: Path, seed: int, steps: Sequence[config.StepConfig]) -> None:
    """Record the outcomes of the finished steps of a seed, their versions and training time.

    Raises UserError if a file of a run cannot be read.
    """
    rows = outcomes.of_runs(root, [Path(step.output) for step in steps])
    starts, seconds = [], 0.0
    for step in steps:
        last = files.read_json(Path(step.output) / layout.VERSIONS)
        starts += [*last.get("before", ()), last]  # of an interrupted run, too
        if step.verb == "train":
            seconds += files.read_json(Path(step.output) / layout.RESULT)["seconds"]
    record = {
        "machine": harness.machine(),
        "jax": _joined(start["packages"]["jax"] for start in starts),
        "commit": _joined(start["commit"] for start in starts),
        "training_seconds": seconds,
        "rows": outcomes.added(part, rows),
    }
    files.write_json(_folder(part) / f"{study.word_of(seed)}.json", record)


def read(part: str) -> dict[int, Record]:
    """Return the records of a part, by seed."""
    paths = _folder(part).glob("seed-*.json")
    records = {study.seed_of(path.stem): files.read_json(path) for path in paths}
    return dict(sorted(records.items()))


def read_all() -> dict[str, dict[int, Record]]:
    """Return the records of all parts, by part and seed."""
    return {part: read(part) for part in parts.PARTS}


def rows_of(records: Mapping[str, Mapping[int, Record]]) -> Rows:
    """Return the outcomes of records, by part and seed."""
    rows: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in outcomes.KINDS}
    for of_part in records.values():
        for record in of_part.values():
            for kind in outcomes.KINDS:
                rows[kind] += record["rows"][kind]
    return rows


def conditions(part: str, records: Mapping[int, Record]) -> str:
    """Return the lines below the tables of a part: time, machine and commit; then its command.

    They name the seeds of the protocol that are not recorded, and a base of another part.
    """
    alike = collections.defaultdict(list)  # seeds by machine, jax and commit
    for seed, record in records.items():
        alike[record["machine"], record["jax"], record["commit"]].append(seed)
    lines = []
    for (machine, jax, commits), seeds in alike.items():
        short = ", ".join(map(versions.short_commit, commits.split(_SEPARATOR)))
        hours = sum(records[seed]["training_seconds"] for seed in seeds) / 3600
        lines.append(
            f"{seeds_in_words(seeds).capitalize()}: {hours:.1f} core-hours of training steps; "
            f"recorded on {machine}; jax {jax}; commit {short}."
        )
    if missing := sorted(set(range(study.SEEDS)) - set(records)):
        lines.append(f"Not run yet: {seeds_in_words(missing)}.")
    own_base = student_tables.has_own_base(part, rows_of({part: records}))
    own = {study_students.BASES[part]} if own_base else set()
    references = student_tables.REFERENCES.get(part, ())
    if borrowed := [f"`{arm}`" for arm in references if arm not in own]:
        lines.append(f"The students of {' and '.join(borrowed)} are those of the part `students`.")
    data = " --data=data" if part == study_real.PART else ""
    lines.append(f"The command is `python -m benchmarks.evidence --parts={part}{data}`.")
    return "\n\n".join(lines) + "\n"


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Return sorted seeds in words, such as `seed 3`, `seeds 0 to 4` or `seeds 0, 2, 3`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    adjacent = seeds[-1] - seeds[0] == len(seeds) - 1
    return f"seeds {seeds[0]} to {seeds[-1]}" if adjacent else f"seeds {', '.join(map(str, seeds))}"


def _folder(part: str) -> Path:
    return harness.RESULTS / "evidence" / part


def _joined(values: Iterable[str]) -> str:
    return _SEPARATOR.join(sorted(set(values)))
