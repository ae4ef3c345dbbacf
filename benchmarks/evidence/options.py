"""The command line of `make evidence`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from teacherlm_jax.pipelines.evidence_steps import study, study_real, study_students
from teacherlm_jax.pipelines.evidence_steps.parts import PARTS

SHORT_PARTS = ("amounts",)
PILOT = 1000  # first seed of runs that are not recorded


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a run; `recorded` tells whether its outcomes are recorded.

    Raises SystemExit for options that the protocol does not allow.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.page and options != parser.parse_args(["--page"]):
        parser.error("--page: rebuilds the page of all parts and seeds; remove the other options")
    _choose_seeds(parser, options)
    end = "_tiny" if options.tiny else "_short" if options.short else "_pilot"
    end = "" if options.recorded else end
    options.folder = os.path.normpath(options.folder or f"runs/evidence{end}")
    whole = tuple(part for part in PARTS if part != study_real.PART or options.data)
    default = SHORT_PARTS if options.short else whole
    options.parts = options.parts.split(",") if options.parts else default
    if unknown := set(options.parts) - set(PARTS):
        parser.error(
            f"--parts={','.join(options.parts)}: unknown part {min(unknown)!r}; expected some of "
            f"{','.join(PARTS)}"
        )
    if study_real.PART in options.parts and not options.data:
        parser.error(
            "--parts=real: needs --data=FOLDER with the files of docs/tutorial/real-data.md"
        )
    if options.data and study_real.PART not in options.parts:
        parser.error(f"--data={options.data}: only the part real reads it; add it to --parts")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence",
        description="Run the study of stages and explanations, and rebuild its page.",
    )
    parser.add_argument(
        "--parts",
        help=f"some of {','.join(PARTS)} (default: all, {study_real.PART} only with --data)",
    )
    parser.add_argument(
        "--folder",
        help="folder of the runs (default: runs/evidence, or runs/evidence_pilot, _short or _tiny "
        "if they are not recorded)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with the files of docs/tutorial/real-data.md, which only `real` reads",
    )
    parser.add_argument(
        "--first",
        type=int,
        help=f"first seed. Those of the protocol are 0 to {study.SEEDS - 1}; seeds from {PILOT} on "
        "are pilots, which are not recorded",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help=f"number of seeds (default: all from --first to {study.SEEDS - 1}). Without --first, "
        f"another number than {study.SEEDS} makes a pilot",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, default=cores, help="runs at the same time")
    parser.add_argument(
        "--short",
        action="store_true",
        help="the main arms of each part only, students on generated samples with half of the "
        f"steps, at most {study.SHORT_SEEDS} pilot seeds; without --parts, students with "
        f"{study_students.AMOUNTS[0]} samples",
    )
    parser.add_argument("--tiny", action="store_true", help="a smoke test with one pilot seed")
    parser.add_argument(
        "--replace", action="store_true", help="record seeds again that are recorded already"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="rebuild the page without training; it stands alone",
    )
    return parser


def _choose_seeds(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Set the defaults of `first` and `seeds`, and `recorded`; SystemExit if they do not fit."""
    brief = options.short or options.tiny
    most = 1 if options.tiny else study.SHORT_SEEDS if options.short else options.seeds
    if options.seeds is not None and not 1 <= options.seeds <= most:
        limit = f"1 to {most}" if brief else "1 or more"
        parser.error(f"--seeds={options.seeds}: expected {limit}")
    if options.first is None:
        whole = options.seeds in (None, study.SEEDS) and not brief
        options.first = 0 if whole else PILOT
    options.recorded = options.first < PILOT
    if options.replace and not options.recorded:
        parser.error("--replace: a pilot records nothing; remove it, or choose seeds 0 to 9")
    words = f"--first={options.first}"
    if options.seeds is None:
        options.seeds = study.SEEDS - options.first if options.recorded else study.SEEDS
    else:
        words += f" --seeds={options.seeds}"
    outside = options.first < 0 or options.seeds < 1 or options.first + options.seeds > study.SEEDS
    if options.recorded and (brief or outside):
        parser.error(
            f"{words}: the seeds of the protocol are 0 to {study.SEEDS - 1}; for a pilot, also "
            f"with --short or --tiny, use --first={PILOT} or more"
        )
