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
import collections
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.evidence import outcomes, page, samples, tables
from teacherlm_jax.pipelines.evidence_steps import study, study_students, study_teachers
from teacherlm_jax.storage import files

PARTS = ("students", "stages", "forms", "causes", "taught", "amounts", "sizes")
SHORT_PARTS = PARTS[:1]
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


def rows_of(root: Path, seeds: Collection[int]) -> tables.Rows:
    """Return all outcomes with these seeds; other seeds may have runs in `root`, too."""
    found = {
        "students": outcomes.students(root),
        "teachers": outcomes.teachers(root),
        "explained": outcomes.writers(root, "explain"),
        "written": outcomes.writers(root, "write"),
    }
    return {name: [row for row in rows if row["seed"] in seeds] for name, rows in found.items()}


def added(part: str, rows: tables.Rows) -> tables.Rows:
    """Return the outcomes that a part adds to those of the other parts."""
    sizes = study_teachers.PARTS.get(part, ())
    arms = study_students.ADDED.get(part, ())
    return {
        "students": [
            row
            for row in rows["students"]
            if row["arm"] in arms and (row["amount"] != study.MAIN_AMOUNT) == (part == "amounts")
        ],
        "teachers": [row for row in rows["teachers"] if row["size"] in sizes],
        "explained": [row for row in rows["explained"] if row["size"] in sizes],
        "written": rows["written"] if part == "taught" else [],
    }


def record(part: str, rows: tables.Rows) -> None:
    """Record the outcomes of a part, with the time that its trainings took."""
    hours = sum(row["seconds"] for row in (*rows["students"], *rows["teachers"])) / 3600
    conditions = f"These trainings took {hours:.1f} hours of one core.\n{harness.conditions()}"
    files.write_json(
        harness.RESULTS / f"evidence_{part}.json",
        {"hours": hours, "commit": harness.commit(), "conditions": conditions, "rows": rows},
    )


def rebuild() -> None:
    """Rebuild the page from the recorded outcomes."""
    paths = {part: harness.RESULTS / f"evidence_{part}.json" for part in PARTS}
    recorded = {part: files.read_json(path) for part, path in paths.items() if path.exists()}
    rows: tables.Rows = collections.defaultdict(list)
    for one in recorded.values():
        for name, found in one["rows"].items():
            rows[name] += found
    for part, one in recorded.items():
        page.write(part, rows, one["conditions"])
    if recorded:
        page.write("primary", rows)
        page.write_figure(rows["students"])


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
    default = SHORT_PARTS if options.short else PARTS
    parts = options.parts.split(",") if options.parts else default
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts={options.parts}: unknown part {min(unknown)!r}")
    chosen = study.chosen_seeds(
        options.first, options.seeds, short=options.short, tiny=options.tiny
    )
    samples.write_all(root / "samples", chosen)
    for part in parts:
        run(part, options)
        rows = rows_of(root, chosen)
        print(tables.TABLES[part](rows))
        if counted:
            record(part, added(part, rows))
            rebuild()
    if not counted:
        print(tables.TABLES["primary"](rows_of(root, chosen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
