"""A run folder that is open for work: its files, its log, and the error that ends the work."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.errors import ExplainedError, StoreError
from teacherlm_jax.runs import (
    console,
    distributed,
    identity,
    layout,
    run_log,
)
from teacherlm_jax.runs.leftovers import Leftovers
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import disk_errors, files, store_errors


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
        record: Callable[[], None] = lambda: None,
    ):
        """Wrap an open folder.

        Args:
            place: the folder.
            log: its logger.
            paths: the config's paths by key, shown in messages.
            leftovers: what to remove if the command is refused before its work begins.
            record: function that writes the settings and versions into the folder.
        """
        self.path = place.path
        self.address = place.address
        self.log = log
        self._place = place
        self._paths = paths or {}
        self._leftovers = leftovers
        self._record = record

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of `result.json`; None while the run is not finished."""
        result: dict[str, Any] | None = files.read_json_if_any(self._place.home / layout.RESULT)
        return result

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

    def begin_extension(self) -> None:
        """Record the settings that extend the run, which is not finished any more."""
        self.log.info("%s: extending this run: %s", self.path, ", ".join(self.changes))
        self.reopen()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._place.translate_error(error)
            self._keep(error)
        try:
            self.close(refused=self._is_refused(error))
        except (ExplainedError, OSError) as unpublished:
            if error is None:
                raise
            # it must not hide the error that ended the run
            console.say(disk_errors.explain(unpublished, f"{self.path}") or f"{unpublished}")

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
        """Remove the result of a finished run that is continued, and record its settings."""
        # First: with the new settings and the old result the run would be finished.
        files.remove(self._place.home / layout.RESULT)
        self._record()


class FollowedRun(Run):
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

    def begin_extension(self) -> None:
        """Do nothing: the first process records the settings."""
