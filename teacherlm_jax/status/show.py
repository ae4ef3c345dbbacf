"""The command `status`: the status of runs, once or every few seconds."""

import contextlib
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
from teacherlm_jax.status.run_status import RunStatus, read_status, unreadable
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.wording import printable

_PATIENCE = 10.0  # seconds for which transient errors of a store are retried
_CLEAR = "\x1b[2J\x1b[H"  # clears a terminal
_MANY = 3  # runs of which each gets a line of its own only
_INCOMPLETE = 2  # exit status if a path holds no run, or a run cannot be read

Print = Callable[[str], None]
Look = tuple[list[RunStatus], list[ExplainedError]]  # runs, and errors of paths without a run


def show(options: StatusOptions, print_out: Print) -> int:
    """Print the status of the runs that the options name; return the exit status.

    Nothing is written, and no lock is taken. A run that cannot be read has its reason in its place,
    and a path without a run is named on standard error; the exit status is then 2.

    Raises UserError or StoreError if there is nothing to show.
    """
    if options.watch:
        return _watch(options, print_out)
    statuses, errors = _look(options.runs)
    if not statuses:
        raise _joined(errors)
    print_out(_text(options, statuses))
    _print_errors(errors)
    return _exit_status(statuses, errors)


def _watch(options: StatusOptions, print_out: Print) -> int:
    """Print the status every few seconds until all runs are finished, or until Ctrl-C."""
    try:
        while True:
            began = time.monotonic()
            statuses, errors = _look(options.runs)
            if not statuses and all(isinstance(error, UserError) for error in errors):
                raise _joined(errors)  # a store may answer the next time
            if options.json:
                print_out(_text(options, statuses))
                _print_errors(errors)
            else:
                if sys.stdout.isatty():
                    sys.stdout.write(_CLEAR)
                print_out(_page(options, statuses, errors))
            if statuses and all(one.state.name == run_state.FINISHED for one in statuses):
                return _exit_status(statuses, errors)
            time.sleep(max(0.1, options.every - (time.monotonic() - began)))
    except KeyboardInterrupt:
        return 0


def _joined(errors: Sequence[ExplainedError]) -> ExplainedError:
    return errors[0] if len(errors) == 1 else ExplainedError("\n".join(map(str, errors)))


def _print_errors(errors: Sequence[ExplainedError]) -> None:
    for error in errors:
        print(printable(str(error)), file=sys.stderr)


def _exit_status(statuses: Sequence[RunStatus], errors: Sequence[ExplainedError]) -> int:
    unread = any(one.state.name == run_state.UNREADABLE for one in statuses)
    return _INCOMPLETE if errors or unread else 0


def _page(
    options: StatusOptions, statuses: Sequence[RunStatus], errors: Sequence[ExplainedError]
) -> str:
    """Return one look for a terminal, with the time at its end."""
    at = time.strftime("%H:%M:%S")
    footer = f"{at}, every {options.every:g} s; Ctrl-C ends this, not the run"
    runs = [_text(options, statuses)] if statuses else []
    return "\n\n".join([*runs, *map(str, errors), footer])


def _text(options: StatusOptions, statuses: Sequence[RunStatus]) -> str:
    if options.json:
        indent = None if options.watch else 2
        return json.dumps([one.to_json() for one in statuses], indent=indent)
    if len(statuses) > max(_MANY, len(options.runs)):
        return status_text.table(statuses)
    return "\n\n".join(map(status_text.block, statuses))


def _look(paths: Sequence[str]) -> Look:
    """Return the status of all runs, and the errors of paths without a run.

    Once a store has not answered, it is not waited for again.
    """
    statuses: list[RunStatus] = []
    errors: list[ExplainedError] = []
    with contextlib.ExitStack() as patience:
        patience.enter_context(objects.patience(_PATIENCE))
        for path in paths:
            try:
                statuses += _of_path(path.rstrip("/") or path, patience)
            except ExplainedError as error:
                errors.append(error)
                _lose(patience, error)
    return statuses, errors


def _of_path(path: str, patience: contextlib.ExitStack) -> Iterator[RunStatus]:
    """Yield the status of the run at a path, or of the runs below it."""
    skew = _skew(path)
    try:
        found = run_folders.find(path)
    except UserError:
        exported = read_exported(path, skew)
        if exported is None:
            raise
        yield exported
        return
    for folder in sorted([*found.runs, *found.refused], key=str):
        if folder in found.refused:
            yield unreadable(folder, found.refused[folder])
            continue
        try:
            yield read_status(RunFiles(folder, skew))
        except ExplainedError as error:
            yield unreadable(folder, str(error))
            _lose(patience, error)


def _lose(patience: contextlib.ExitStack, error: ExplainedError) -> None:
    """Retry nothing from now on if a store has not answered."""
    if isinstance(error, StoreError):
        patience.enter_context(objects.patience(0.0))


def _skew(path: str) -> float:
    """Return the seconds by which this machine's clock is ahead of that of a bucket.

    Raises UserError if there is no such bucket.
    """
    if not is_remote(path):
        return 0.0
    objects.refuse_missing_bucket(path)
    skew, error = objects.clock_skew(os.fspath(path))
    return skew if abs(skew) > 2 * error else 0.0
