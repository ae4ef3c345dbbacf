"""The command `status`: the status of runs, once or every few seconds."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from teacherlm_jax.config import StatusOptions
from teacherlm_jax.errors import ExplainedError, StoreError, UserError
from teacherlm_jax.status import run_folders, run_state, status_text
from teacherlm_jax.status.exported_folder import read_exported
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import RunStatus, read_status
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote

_PATIENCE = 10.0  # seconds for which transient errors of a store are retried
_CLEAR = "\x1b[2J\x1b[H"  # clears a terminal
_MANY = 3  # runs of which each gets a line of its own only

Print = Callable[[str], None]


def show(options: StatusOptions, print_out: Print) -> int:
    """Print the status of the runs that the options name; return the exit status.

    Nothing is written, and no lock is taken. Raises UserError for a path without a run, and
    StoreError if a store refuses.
    """
    with objects.patience(_PATIENCE):
        if options.watch:
            return _watch(options, print_out)
        statuses, problems = _statuses(options.runs)
        print_out(_text(options, statuses))
        for problem in problems:
            print(problem, file=sys.stderr)
    return 0


def _watch(options: StatusOptions, print_out: Print) -> int:
    """Print the status every few seconds until all runs are finished, or until Ctrl-C."""
    try:
        while True:
            began = time.monotonic()
            try:
                statuses, problems = _statuses(options.runs)
                text = "\n\n".join([_text(options, statuses), *problems])
            except StoreError as error:  # the store may answer the next time
                statuses, text = [], f"{error}"
            print_out(_page(options, text))
            if statuses and all(one.state.name == run_state.FINISHED for one in statuses):
                return 0
            time.sleep(max(0.1, options.every - (time.monotonic() - began)))
    except KeyboardInterrupt:
        return 0


def _page(options: StatusOptions, text: str) -> str:
    if options.json:
        return text
    at = time.strftime("%H:%M:%S")
    footer = f"{at}, every {options.every:g} s; Ctrl-C ends this, not the run"
    clear = _CLEAR if sys.stdout.isatty() else ""
    return f"{clear}{text}\n\n{footer}"


def _text(options: StatusOptions, statuses: list[RunStatus]) -> str:
    if options.json:
        indent = None if options.watch else 2
        return json.dumps([one.to_json() for one in statuses], indent=indent, ensure_ascii=False)
    if len(statuses) > max(_MANY, len(options.runs)):
        return status_text.table(statuses)
    return "\n\n".join(map(status_text.block, statuses))


def _statuses(paths: Sequence[str]) -> tuple[list[RunStatus], list[str]]:
    """Return the status of all runs, and messages about paths without a run.

    Raises UserError if no path has a run.
    """
    statuses: list[RunStatus] = []
    problems: list[str] = []
    for path in paths:
        try:
            statuses += _of_path(path.rstrip("/") or path)
        except UserError as error:
            problems.append(f"{error}")
    if not statuses:
        raise UserError("\n".join(problems))
    return statuses, problems


def _of_path(path: str) -> Iterator[RunStatus]:
    """Yield the status of the run at a path, or of the runs below it."""
    skew = _skew(path)
    try:
        folders = run_folders.find(path)
    except ExplainedError as error:
        exported = read_exported(path, skew) if not isinstance(error, StoreError) else None
        if exported is None:
            raise
        yield exported
        return
    for folder in folders:
        yield read_status(RunFiles(folder, skew))


def _skew(path: str) -> float:
    """Return the seconds by which this machine's clock is ahead of that of a bucket.

    Raises UserError if there is no such bucket.
    """
    if not is_remote(path):
        return 0.0
    objects.refuse_missing_bucket(path)
    skew, error = objects.clock_skew(os.fspath(path))
    return skew if abs(skew) > 2 * error else 0.0
