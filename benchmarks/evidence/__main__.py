"""`make evidence`: run the study and rebuild its page, docs/explanation/evidence.md.

    make evidence                       # all on generated samples; repeat the command to resume
    make evidence SHORT=1               # students with 250 samples, a few pilot seeds
    python -m benchmarks.evidence --parts=students --processes=2
    python -m benchmarks.evidence --parts=forms --first=0 --seeds=5   # and later --first=5
    python -m benchmarks.evidence --parts=real --data=data   # --data also adds it to all others
    python -m benchmarks.evidence --parts=forms --seeds=2   # a pilot
    python -m benchmarks.evidence --page   # rebuild the page from the recorded outcomes

Each part is a pipeline of configs/evidence.py. The outcomes of the protocol's seeds, 0 to 9, are
recorded in benchmarks/results/evidence/. Any other run is a pilot, whose tables are printed only.
"""

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import FrameType

from benchmarks.evidence import outcomes, page, real_samples, recorded, samples, tables
from benchmarks.evidence.options import parse
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import study, study_real
from teacherlm_jax.runs import stop_signals
from teacherlm_jax.runs.parent_process import TiedProcess

# One thread for each process, since they run side by side.
_ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "NPROC": "1", "OMP_NUM_THREADS": "1"}


def run(part: str, options: argparse.Namespace) -> int:
    """Run the pipeline of a part and return its exit status, or 128 plus that of a signal.

    The pipeline gets the signals that stop this process; it saves its runs so that they can be
    resumed.
    """
    settings = f"root={options.folder},seeds={options.seeds},first={options.first}"
    settings += ",short" * options.short + ",tiny" * options.tiny
    command = [
        *(sys.executable, "-m", "teacherlm_jax", "pipeline"),
        f"--config={os.path.relpath(recorded.CONFIG)}:{part},{settings}",
        f"--processes={options.processes}",
    ]
    received: list[int] = []
    pipeline: TiedProcess | None = None

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if pipeline is not None:
            pipeline.send_signal(number)

    with stop_signals.handling(stop):
        pipeline = TiedProcess(command, {**os.environ, **_ENVIRONMENT})
        if received:  # while the pipeline was starting
            pipeline.send_signal(received[-1])
        status = pipeline.wait()
    if received:
        return 128 + received[-1]
    return status if status >= 0 else 128 - status


def record(part: str, root: Path, seeds: Collection[int], *, replace: bool) -> None:
    """Record the seeds of a part whose steps are all finished, and rebuild the page.

    Seeds that are recorded already are left as they are, unless `replace` says otherwise.
    """
    before = recorded.read(part)
    seeds_by_state: dict[str, list[int]] = {}
    for seed in seeds:
        if seed in before and not replace:
            state = "already recorded (--replace records them again)"
        else:
            state = _recorded(part, root, seed)
        seeds_by_state.setdefault(state, []).append(seed)
    states = (f"{recorded.seeds_in_words(some)} {state}" for state, some in seeds_by_state.items())
    print(f"{part}: {'; '.join(states)}")
    rebuild()


def _recorded(part: str, root: Path, seed: int) -> str:
    """Record a seed of a part if its steps are finished; return what was done, in words."""
    try:
        steps = recorded.finished_steps(part, root, seed)
        if steps is None:
            return "not finished"
        recorded.write(part, root, seed, steps)
    except UserError as error:
        return f"not recorded: {error}"
    return "recorded"


def rebuild() -> None:
    """Rebuild the page from the recorded outcomes."""
    records = recorded.read_all()
    rows = recorded.rows_of(records)
    for part, of_part in records.items():
        if of_part:
            page.write(part, rows, recorded.conditions(part, of_part))
        else:
            page.write_missing(part)
    for name in ("primary", "course"):
        page.write(name, rows)
    page.write_claims(rows, [part for part, of_part in records.items() if of_part])
    page.write_figures(rows)


def _announce_recorded(parts: Sequence[str], seeds: Collection[int]) -> None:
    """Print which of the seeds that will be run are already recorded."""
    for part in parts:
        if before := [seed for seed in recorded.read(part) if seed in seeds]:
            print(
                f"{part}: {recorded.seeds_in_words(before)} already recorded. This run only prints "
                "their new outcomes; add --replace to record these instead."
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status; 2 after an error of the user, which is printed."""
    options = parse(arguments)
    try:
        if options.page:
            rebuild()
            return 0
        return _run_all(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _run_all(options: argparse.Namespace) -> int:
    """Write the samples, run the parts one by one, and return the exit status of the last one."""
    root = Path(options.folder)
    chosen = study.chosen_seeds(
        options.first, options.seeds, short=options.short, tiny=options.tiny
    )
    if not options.recorded:
        print(f"A pilot with {recorded.seeds_in_words(chosen)}: its outcomes are not recorded.")
    elif not options.replace:
        _announce_recorded(options.parts, chosen)
    if study_real.PART in options.parts:
        _write_real_samples(root, options.data)
    samples.write_all(root / "samples", chosen)
    for part in options.parts:
        status = run(part, options)
        if options.recorded:
            record(part, root, chosen, replace=options.replace)
        if status:
            return status
        print(tables.TABLES[part](outcomes.below(root, chosen)))
    rows = outcomes.below(root, chosen)
    if not options.recorded and tables.verdicts(tables.primary(rows)):
        print(tables.TABLES["primary"](rows))
    return 0


def _write_real_samples(root: Path, data: Path) -> None:
    """Write the real samples of the study, and print which rows are not used."""
    try:
        unused = real_samples.write_all(root / "samples" / study_real.PART, data)
    except UserError as error:
        raise UserError(f"--data={data}: {error}") from None
    for name, counts in unused.items():
        for reason, count in counts.items():
            print(f"{name}: {count} rows of the training file are not used: {reason}")


if __name__ == "__main__":
    sys.exit(main())
