"""`make evidence`: run the study and rebuild its page, docs/explanation/evidence.md.

    make evidence                       # everything; repeat the command to resume
    make evidence SHORT=1               # H1 to H3 with two other seeds, in a quarter of an hour
    python -m benchmarks.evidence --parts=students --processes=2
    python -m benchmarks.evidence --page   # rebuild the page from the recorded outcomes

Each part is a pipeline of configs/evidence.py. Its outcomes are recorded in
benchmarks/results/evidence_PART.json if all its seeds are the protocol's; any other run is a pilot,
whose tables are printed only.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.evidence import outcomes, page, samples
from teacherlm_jax.pipelines.evidence_steps import study, study_students
from teacherlm_jax.storage import files

PARTS = ("students", "stages", "forms", "causes", "written", "amounts")
SHORT_PARTS = PARTS[:1]
UNDECIDED = ("stages", "written")  # the protocol does not state the steps of teachers yet
PILOT = 1000  # first seed of runs that do not count
# One thread for each process, since they run side by side.
_ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "NPROC": "1", "OMP_NUM_THREADS": "1"}
_CONFIG = "configs/evidence.py"


def run(part: str, options: argparse.Namespace) -> None:
    """Run the pipeline of a part. Raises SystemExit if it fails."""
    settings = f"root={options.folder},seeds={options.seeds},first={options.first}"
    settings += ",short" * options.short + ",tiny" * options.tiny
    done = subprocess.run(
        [
            *(sys.executable, "-m", "teacherlm_jax", "pipeline"),
            f"--config={_CONFIG}:{part},{settings}",
            f"--processes={options.processes}",
        ],
        cwd=harness.ROOT,
        env={**os.environ, **_ENVIRONMENT},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)


def rows_of(part: str, root: Path, seeds: Collection[int]) -> Any:
    """Return the outcomes of a part with these seeds; other seeds may have runs in `root`, too."""
    students = [row for row in _with(outcomes.students(root), seeds) if _belongs(row, part)]
    if part == "stages":
        found = {"teachers": outcomes.teachers(root), "writers": outcomes.writers(root)}
    elif part == "written":
        found = {"students": students, "writers": outcomes.writers(root, "write")}
    else:
        return students
    return {name: _with(rows, seeds) for name, rows in found.items()}


def _with(rows: Sequence[outcomes.Row], seeds: Collection[int]) -> list[outcomes.Row]:
    return [row for row in rows if row["seed"] in seeds]


def _belongs(row: outcomes.Row, part: str) -> bool:
    """Return whether a student belongs to a part; some belong to several."""
    main = row["arm"] in study_students.MAIN_STUDENTS
    if part == "amounts":
        return row["amount"] != study.MAIN_AMOUNT and main
    if part == "forms":
        arms = set(study_students.STUDENTS)
    elif part == "students":
        arms = set(study_students.MAIN_STUDENTS)
    elif part == "causes":
        arms = {"CMF", *study_students.CAUSES, study_students.WHOLE_TEXT}
    else:
        arms = {"text", "CMF", *study_students.WRITTEN}
    return row["amount"] == study.MAIN_AMOUNT and row["arm"] in arms


def record(part: str, rows: Any) -> None:
    """Record the outcomes of a part, with the time that all its trainings took."""
    trained = rows if isinstance(rows, list) else next(iter(rows.values()))
    hours = sum(row["seconds"] for row in trained) / 3600
    conditions = f"These trainings took {hours:.1f} hours of one core.\n{harness.conditions()}"
    files.write_json(
        harness.RESULTS / f"evidence_{part}.json",
        {"hours": hours, "commit": harness.commit(), "conditions": conditions, "rows": rows},
    )


def rebuild() -> None:
    """Rebuild the page from the recorded outcomes."""
    recorded: dict[str, Any] = {}
    for part in PARTS:
        path = harness.RESULTS / f"evidence_{part}.json"
        if path.exists():
            recorded[part] = files.read_json(path)
            page.write(part, recorded[part])
    rows = {part: one["rows"] for part, one in recorded.items()}
    everyone = [*(rows.get("forms") or rows.get("students", ())), *rows.get("amounts", ())]
    if everyone:
        page.write_figure(everyone)
    found = {"students": rows.get("students", ()), **rows.get("stages", {})}
    page.write("primary", {"rows": found, "conditions": ""})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description="Run the study of stages and explanations.")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument(
        "--folder",
        help="folder of the runs (default: runs/evidence, or runs/evidence_pilot or _tiny if they "
        "do not count)",
    )
    parser.add_argument("--seeds", type=int, default=study.SEEDS, help="number of seeds")
    parser.add_argument(
        "--first", type=int, help=f"first seed (default: 0, or {PILOT} if they do not count)"
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, default=cores, help="runs at the same time")
    parser.add_argument("--short", action="store_true", help="H1 to H3 only, with two seeds")
    parser.add_argument("--tiny", action="store_true", help="a smoke test")
    parser.add_argument("--page", action="store_true", help="rebuild the page without training")
    options = parser.parse_args(arguments)
    if options.page:
        rebuild()
        return 0
    counted = not (options.short or options.tiny or options.first) and options.seeds == study.SEEDS
    if options.first is None:
        options.first = 0 if counted else PILOT
    if not counted and options.first < PILOT:
        parser.error(f"--first={options.first}: a run that does not count needs at least {PILOT}")
    end = "" if counted else "_tiny" if options.tiny else "_pilot"
    root = Path(options.folder or f"runs/evidence{end}")
    options.folder = str(root)
    every = [part for part in PARTS if not (counted and part in UNDECIDED)]
    default = SHORT_PARTS if options.short else every
    parts = options.parts.split(",") if options.parts else default
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts={options.parts}: unknown part {min(unknown)!r}")
    if counted and (early := set(parts) & set(UNDECIDED)):
        parser.error(f"--parts={options.parts}: the protocol of {min(early)!r} is not finished")
    chosen = study.chosen_seeds(
        options.first, options.seeds, short=options.short, tiny=options.tiny
    )
    samples.write_all(root / "samples", chosen)
    found: dict[str, Any] = {}
    for part in parts:
        run(part, options)
        rows = rows_of(part, root, chosen)
        print(page.TABLES[part](rows))
        found |= rows if part == "stages" else {part: rows}
        if counted:
            record(part, rows)
    if counted:
        rebuild()
    else:
        print(page.TABLES["primary"](found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
