"""Run folders, which record each verb's config (with seeds), versions, commit, log and result.

When several processes work together, the first one writes all files but the others' logs, and
holds the lock; the others learn from it what the folder contains. A command that is refused before
its work begins leaves no run folder behind.

A run folder may be in a bucket (`gs://`). Its files then grow in a folder on this machine, and are
published before every checkpoint, every 30 seconds and at the end; see `storage.mirror`. A folder
that several processes share is locked only where one of them must be alone; see `open_run`.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.errors import ExplainedError, StoreError, UserError
from teacherlm_jax.runs import (
    console,
    distributed,
    identity,
    layout,
    recorded_settings,
    run_log,
    run_place,
)
from teacherlm_jax.runs.leftovers import Leftovers
from teacherlm_jax.runs.recorded_settings import ExtendedKeys
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files, objects, store_errors
from teacherlm_jax.storage.locations import is_remote


class Run:
    """One run folder, open for work.

    Attributes:
        path: the folder, or its copy on this machine if the folder is in a bucket: files of the run
            are written here.
        address: where the folder is, as the user named it.
        log: logger that writes to the console and to `path/log.txt`.
        changes: settings that differ from those that the run was started with, such as
            `config.log_every=5 (was 10)`.
        extends: whether some of them extend the run, so that its result is not final.
    """

    changes: tuple[str, ...] = ()
    extends = False

    def __init__(
        self,
        place: RunPlace,
        log: logging.Logger,
        paths: Mapping[str, str] | None = None,
        leftovers: Leftovers | None = None,
    ):
        """Wrap an open folder.

        Args:
            place: the folder.
            log: its logger.
            paths: the config's paths by key, shown in messages.
            leftovers: what to remove if the command is refused before its work begins.
        """
        self.path = place.path
        self.address = place.address
        self.log = log
        self._place = place
        self._paths = paths or {}
        self._leftovers = leftovers

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of `result.json`; None while the run is not finished."""
        result = self._place.home / layout.RESULT
        return files.read_json(result) if files.exists(result) else None

    @property
    def workers(self) -> Workers:
        """The processes at work in the folder, if several may share it."""
        return self._place.workers

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of a folder that several processes share in a `with` block.

        The process of any other folder holds the lock all the time.
        """
        return self._place.alone()

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """Record the digests of the run's inputs; raise UserError if they changed since.

        The message names each input that changed, with both digests. Where several processes work
        together, all of them call this and the first one compares.

        Args:
            inputs: digests by config key, such as "data" or "benchmarks.creak".
        """
        home = self._place.home
        distributed.of_first(lambda: identity.check_inputs(home, inputs, self._paths))

    def begin_extension(self, verb: str, config: Any) -> None:
        """Record the settings that extend the run, which is not finished any more."""
        self.log.info("%s: this run is extended: %s", self.path, ", ".join(self.changes))
        recorded_settings.record(self._place.home, verb, config)
        self.reopen()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._place.translate_error(error)
            self._keep(error)
        try:
            self.close(refused=self._is_refused(error))
        except ExplainedError as unpublished:
            if error is None:
                raise
            console.say(f"{unpublished}")  # it must not hide the error that ended the run

    def publish(self) -> None:
        """Publish the files of a run in a bucket; call this before a checkpoint covers them."""
        self._place.publish()

    def _keep(self, error: BaseException) -> None:
        """Write the error that ended the run to the log file; the command shows it itself."""
        message = store_errors.explain(error) or f"{type(error).__name__}: {error}"
        record = self.log.makeRecord(self.log.name, logging.ERROR, "", 0, message, (), None)
        with contextlib.suppress(OSError):  # such as the full disk that ended the run
            for handler in self.log.handlers:
                if isinstance(handler, run_log.LogFile):
                    handler.handle(record)

    def close(self, *, refused: bool = False) -> None:
        """Close the log, publish what is not in the bucket yet, and release the lock.

        If the command was refused and its work has not begun, remove the files that it created.
        """
        with contextlib.ExitStack() as closing:  # closes the rest even if the log cannot be written
            closing.callback(self._place.close)
            if refused and self._leftovers is not None:
                closing.callback(self._remove, self._leftovers)
            for handler in list(self.log.handlers):
                self.log.removeHandler(handler)
                closing.callback(handler.close)

    def _is_refused(self, error: BaseException | None) -> bool:
        """Return whether an error ends a command; a store that refuses lets no lock be taken."""
        unlocked = self._place.shared and isinstance(error, StoreError)
        return isinstance(error, ExplainedError) and not unlocked

    def _remove(self, leftovers: Leftovers) -> None:
        with self._place.alone():
            if not self._place.shared:
                leftovers.remove()
            elif not self.workers.others():
                self.workers.leave()
                leftovers.remove()

    def finish(self, result: dict[str, Any]) -> None:
        """Write `result.json`, which marks the run as finished, unless it is there already."""
        if not self._place.shared or self.result != result:
            files.write_json(self._place.home / layout.RESULT, result)

    def reopen(self) -> None:
        """Remove the result of a finished run that is continued."""
        files.remove(self._place.home / layout.RESULT)


class _Follower(Run):
    """A run folder that another process writes, with a log of this one.

    Only warnings are shown on the console.
    """

    def __init__(self, place: RunPlace, result: dict[str, Any] | None, extends: bool):
        self.extends = extends
        log = run_log.open_log(place, layout.log_of(distributed.process_index()), logging.WARNING)
        super().__init__(place, log)
        self._result = result

    @property
    def result(self) -> dict[str, Any] | None:
        """Result in the folder when it was opened."""
        return self._result

    def finish(self, result: dict[str, Any]) -> None:
        """Do nothing: the first process writes the result."""

    def reopen(self) -> None:
        """Do nothing: the first process removes the result."""

    def begin_extension(self, verb: str, config: Any) -> None:
        """Do nothing: the first process records the settings."""


def no_extension(before: Mapping[str, Any], config: Any) -> tuple[str, ...]:
    """Return no keys: the runs of a verb are not extended by other settings."""
    return ()


def require_same_settings(
    output: str, verb: str, config: Any, *, may_change: tuple[str, ...] = ()
) -> None:
    """Raise UserError where `open_run` would because of the folder's settings; write nothing."""
    address = run_place.check_address(output)
    if is_remote(address):
        objects.refuse_missing_bucket(address)
    others = Workers(address / layout.WORKERS, console.say).others()
    recorded_settings.compare(address, verb, config, may_change, no_extension, begun=bool(others))


def open_run(
    output: str,
    verb: str,
    config: Any,
    *,
    may_change: tuple[str, ...] = (),
    extended_keys: ExtendedKeys = no_extension,
    shared: bool = False,
) -> Run:
    """Create or re-open the run folder `output` for `verb` with `config` (a dataclass).

    A folder in which work has begun keeps its settings: opening it with others raises UserError
    that names the first key that differs. Not compared are keys that hold paths, since a run is
    identified by the digests of its inputs (`Run.check_inputs`), and keys below those named in
    `may_change`, which do not change the result.

    `extended_keys` returns the keys by which `config` extends a run that was started with another
    config; call `Run.begin_extension` if `Run.extends` is set.

    A `shared` folder is not locked: other processes with the same settings may join the run. Use
    `Run.alone` where only one of them may work.
    """
    address = run_place.check_address(output)
    opened: list[Run] = []

    def open_here() -> tuple[dict[str, Any] | None, bool]:
        if shared:
            opened.append(_joined(output, verb, config, may_change))
        else:
            opened.append(_opened(output, verb, config, may_change, extended_keys))
        return opened[0].result, opened[0].extends

    result, extends = distributed.of_first(open_here)
    blind = distributed.without(lambda: (address / layout.CONFIG).exists())
    if blind:
        for run in opened:
            run.close(refused=True)
        numbers = ", ".join(map(str, blind))
        raise UserError(
            f"{output}: processes {numbers} do not see this folder; put config.output in a bucket "
            "or on a disk that all hosts share, under the same absolute path"
        )
    if opened:
        return opened[0]
    place = run_place.follow_place(output, distributed.process_index())
    return _Follower(place, result, extends)


def _opened(
    output: str,
    verb: str,
    config: Any,
    may_change: tuple[str, ...],
    extended_keys: ExtendedKeys,
) -> Run:
    """Lock the folder, and compare its settings if work has begun in it."""
    leftovers = Leftovers(Path(output)) if not is_remote(output) else None
    place = run_place.open_place(output)
    if leftovers is None:
        leftovers = Leftovers(place.path)
    with contextlib.ExitStack() as closing, place.translating():
        closing.callback(place.close)
        run = _compared(place, leftovers, verb, config, may_change, extended_keys)
        run.publish()
        closing.pop_all()
    return run


def _joined(output: str, verb: str, config: Any, may_change: tuple[str, ...]) -> Run:
    """Open a folder that several processes share, next to those that are at work in it."""
    leftovers = Leftovers(output)
    place = run_place.open_shared_place(output)
    with contextlib.ExitStack() as closing:
        closing.callback(place.close)
        with place.alone():
            others = place.workers.others()
            leftovers.log = layout.log_of(place.workers.own if others else "")
            place.share(leftovers.log)
            leftovers.copy = place.path if is_remote(place.address) else None
            run = _compared(place, leftovers, verb, config, may_change, no_extension, others)
            place.workers.join()
        run.publish()
        closing.pop_all()
    return run


def _compared(
    place: RunPlace,
    leftovers: Leftovers,
    verb: str,
    config: Any,
    may_change: tuple[str, ...],
    extended_keys: ExtendedKeys,
    others: Sequence[str] = (),
) -> Run:
    """Compare the settings with those that the run was started with; record them if it is new.

    `others` are processes that are at work in the folder, whose settings count from the beginning.
    """
    path, keys = place.home, path_keys(config)
    changes, extends = recorded_settings.compare(
        path, verb, config, may_change, extended_keys, begun=bool(others)
    )
    settings = identity.flatten(dataclasses.asdict(config))
    log = run_log.open_log(place, leftovers.log, logging.INFO)
    run = Run(place, log, {key: settings[key] for key in keys}, leftovers)
    run.changes = tuple(f"{key}={now!r} (was {old!r})" for key, (old, now) in changes.items())
    run.extends = extends
    if others:
        count = f"{len(others)} other worker{'s are' if len(others) > 1 else ' is'}"
        log.info("%s: %s at work in this folder", place.address, count)
    elif changes.keys() == {f"config.{recorded_settings.LABEL}"}:
        log.info("%s: recorded %s", place.address, *run.changes)
        recorded_settings.record(path, verb, config)
        run.changes = ()
    elif run.result is None and not run.extends:  # a finished run keeps the record
        recorded_settings.record(path, verb, config)
    return run
