"""`make evidence`: run the study and rebuild its page, docs/explanation/evidence.md.

    make evidence                       # all on generated samples; repeat the command to resume
    make evidence SHORT=1               # H1 to H3 with a few pilot seeds
    python -m benchmarks.evidence --parts=students --processes=2
    python -m benchmarks.evidence --parts=forms --first=0 --seeds=5   # and later --first=5
    python -m benchmarks.evidence --parts=real --data=data --seeds=2   # a pilot
    python -m benchmarks.evidence --page   # rebuild the page from the recorded outcomes

Each part is a pipeline of configs/evidence.py. Outcomes with the protocol's seeds, 0 to 9, are
recorded in benchmarks/results/evidence_PART.json. Any other run is a pilot, whose tables are
printed only.
"""

import argparse
import collections
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.evidence import outcomes, page, real_samples, recorded, samples, tables
from benchmarks.evidence.student_tables import Rows
from teacherlm_jax.pipelines.evidence_steps import study, study_real, study_students, study_teachers

PARTS = ("students", "stages", "forms", "causes", "taught", "amounts", "sizes", "real")
SHORT_PARTS = PARTS[:1]
UNDECIDED = PARTS[-1:]  # the protocol does not state the model and the steps yet
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


def rows_of(root: Path, seeds: Collection[int]) -> Rows:
    """Return all outcomes with these seeds; other seeds may have runs in `root`, too."""
    found = {
        "students": outcomes.students(root),
        "teachers": outcomes.teachers(root),
        "explained": outcomes.writers(root, "explain"),
        "written": outcomes.writers(root, "write"),
        "real": outcomes.real(root),
    }
    return {name: [row for row in rows if row["seed"] in seeds] for name, rows in found.items()}


def added(part: str, rows: Rows) -> Rows:
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
        "real": rows["real"] if part == study_real.PART else [],
    }


def rebuild() -> None:
    """Rebuild the page from the recorded outcomes."""
    records = {part: recorded.read(part) for part in PARTS}
    rows: Rows = collections.defaultdict(list)
    for record in filter(None, records.values()):
        for name, found in record["rows"].items():
            rows[name] += found
    for part, record in records.items():
        if record:
            page.write(part, rows, recorded.conditions(record))
        else:
            page.write_missing(part)
    if any(records.values()):
        for name in ("primary", "course"):
            page.write(name, rows)
        page.write_figures(rows)
        page.write_claims(
            rows, {part: recorded.hours(one["rows"]) for part, one in records.items() if one}
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run the study of stages and explanations.")
    parser.add_argument(
        "--parts", help=f"some of {','.join(PARTS)} (default: all but {','.join(UNDECIDED)})"
    )
    parser.add_argument(
        "--folder",
        help="folder of the runs (default: runs/evidence, or runs/evidence_pilot or _tiny if they "
        "do not count)",
    )
    parser.add_argument(
        "--data", type=Path, help="folder with the files of docs/tutorial/real-data.md, for `real`"
    )
    parser.add_argument("--seeds", type=int, default=study.SEEDS, help="number of seeds")
    parser.add_argument(
        "--first",
        type=int,
        help=f"first seed (default: 0, or {PILOT} with --short, --tiny or another number of seeds)",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, default=cores, help="runs at the same time")
    parser.add_argument(
        "--short", action="store_true", help=f"H1 to H3 only, with {study.SHORT_SEEDS} seeds"
    )
    parser.add_argument("--tiny", action="store_true", help="a smoke test")
    parser.add_argument("--page", action="store_true", help="rebuild the page without training")
    return parser


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a run; `counted` tells whether its seeds are the protocol's.

    Raises SystemExit for options that the protocol does not allow.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _choose_seeds(parser, options)
    end = "" if options.counted else "_tiny" if options.tiny else "_pilot"
    options.folder = options.folder or f"runs/evidence{end}"
    default = SHORT_PARTS if options.short else PARTS[: -len(UNDECIDED)]
    options.parts = options.parts.split(",") if options.parts else default
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts={','.join(options.parts)}: unknown part {min(unknown)!r}")
    if options.counted and (early := set(options.parts) & set(UNDECIDED)):
        parser.error(f"--parts={min(early)}: the protocol of this part is not finished")
    if study_real.PART in options.parts and not options.data:
        parser.error(
            "--parts=real: needs --data=FOLDER with the files of docs/tutorial/real-data.md"
        )
    return options


def _choose_seeds(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Set the default of `first`, and whether the seeds count; SystemExit for others than these."""
    brief = options.short or options.tiny
    if options.seeds < 1:
        parser.error(f"--seeds={options.seeds}: expected 1 or more")
    if options.first is None:
        options.first = 0 if options.seeds == study.SEEDS and not brief else PILOT
    options.counted = options.first < PILOT
    outside = options.first < 0 or options.first + options.seeds > study.SEEDS
    if options.counted and (brief or outside):
        parser.error(
            f"--first={options.first} --seeds={options.seeds}: the seeds that count are 0 to "
            f"{study.SEEDS - 1}; other runs, also with --short and --tiny, need --first={PILOT} or "
            "more"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    options = _options(arguments)
    if options.page:
        rebuild()
        return 0
    root = Path(options.folder)
    chosen = study.chosen_seeds(
        options.first, options.seeds, short=options.short, tiny=options.tiny
    )
    samples.write_all(root / "samples", chosen)
    if study_real.PART in options.parts:
        real_samples.write_all(root / "samples" / study_real.PART, options.data)
    for part in options.parts:
        run(part, options)
        rows = rows_of(root, chosen)
        print(tables.TABLES[part](rows))
        if options.counted:
            recorded.add(part, added(part, rows), chosen)
            rebuild()
    if not options.counted:
        print(tables.TABLES["primary"](rows_of(root, chosen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
