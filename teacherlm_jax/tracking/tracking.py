"""The one writer of a run's scalars and results to the services of `config.track`.

A service that fails is logged once and gets nothing more; the run continues without it.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from teacherlm_jax.config.tracking_config import is_hook
from teacherlm_jax.errors import Interrupted, UserError, one_line
from teacherlm_jax.runs import distributed, layout, masking
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tracking.hook import HookTracker
from teacherlm_jax.tracking.tracked_run import NEVER, TrackedRun, describe, flat
from teacherlm_jax.tracking.tracker import Row, Table, Tracker

EXTRA = "`pip install -r requirements-track.txt` in a clone of the repository"
# Module and class of each service, imported only when a run uses it.
OPENERS = {
    "tensorboard": "teacherlm_jax.tracking.tensorboard:TensorBoardTracker",
    "wandb": "teacherlm_jax.tracking.wandb_run:WandbTracker",
    "trackio": "teacherlm_jax.tracking.trackio_run:TrackioTracker",
}
_PACKAGES = {"tensorboard": "tensorboardX"}  # where it is not the name of the service
_DEPTH = 3  # levels of a result, as in benchmarks.mmlu.accuracy
_LONGEST = 300  # characters of an error of a service in the log


def require(track: Iterable[str]) -> None:
    """Raise UserError for a service whose package or function is missing.

    All processes that work together call this.
    """
    distributed.of_first(lambda: _require(track))


def _require(track: Iterable[str]) -> None:
    for name in track:
        if is_hook(name):
            _hook(name)
        elif importlib.util.find_spec(_PACKAGES.get(name, name)) is None:
            raise UserError(
                f"config.track: {name!r} needs the package {_PACKAGES.get(name, name)}, which is "
                f"not installed; install it with {EXTRA}, or leave {name} out"
            )


def open_tracking(
    verb: str, config: Any, run: Run, *, step: int = 0, history: Iterable[Row] = ()
) -> "Tracking":
    """Open the services of `config.track` in the first process; other processes write nothing.

    Args:
        verb: the verb of the run.
        config: its config, with `track` and `tracking`.
        run: its folder.
        step: step at which the run continues; later ones will be logged again.
        history: rows of steps up to `step`, in their order; a service gets those that it lacks.
    """
    tracking = Tracking(run)
    if distributed.is_first():
        described = describe(verb, config, run)
        rows = sorted(history, key=lambda row: row[0])
        for name in config.track:
            tracking.open(name, described, step, rows)
    return tracking


class Tracking:
    """The services that show one run; a context manager that closes them."""

    def __init__(self, run: Run):
        """Begin without services; see `open_tracking`."""
        self._log = run.log
        self._path = run.path / layout.TRACKING
        self._services: dict[str, _Service] = {}
        self._step = 0
        known = files.exists(self._path)
        self._known: dict[str, Any] = files.read_json(self._path) if known else {}

    def open(self, name: str, run: TrackedRun, step: int, history: Sequence[Row]) -> None:
        """Open one service and give it the rows that it lacks; see `open_tracking`."""
        self._step = step
        entry = self._known.get(name, {})
        if entry.get("project") != run.project:
            entry = {}
        run = dataclasses.replace(run, id=entry.get("id", ""), step=entry.get("step", NEVER))
        with self._dropped_on_error(name):
            tracker = _open_tracker(name, run, step, self._log.warning)

            def note(newest: int) -> None:
                self._note(name, project=run.project, id=run.id, step=newest)

            service = self._services[name] = _Service(tracker, note)
            note(tracker.last)
            for row_step, scalars in history:
                service.catch_up(scalars, row_step)
            if tracker.where:
                self._log.info("%s: %s", name, tracker.where)
            if tracker.last > step:
                self._log.info(
                    f"{name}: has the steps up to {tracker.last} and gets only later ones"
                )

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add scalars of a step to all services that do not have the step yet."""
        self._step = step
        for name, service in list(self._services.items()):
            with self._dropped_on_error(name):
                service.log(scalars, step)

    def finish(self, result: Mapping[str, Any], table: Table = ()) -> None:
        """Add the result of the run, as nested dicts, and a table of it to all services."""
        summary = flat(result, _DEPTH)
        for name, service in list(self._services.items()):
            with self._dropped_on_error(name):
                service.send()
                service.tracker.finish(summary, table, self._step)

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, service in list(self._services.items()):
            with self._dropped_on_error(name):
                if not isinstance(error, Interrupted):  # the run will add to its last step
                    service.send()
                service.tracker.close(error)
        self._services = {}

    def _note(self, name: str, **entry: Any) -> None:
        """Record id and step of the run at a service, for a process that resumes it."""
        if self._known.get(name) != entry:
            self._known[name] = entry
            files.write_json(self._path, self._known)

    @contextlib.contextmanager
    def _dropped_on_error(self, name: str) -> Iterator[None]:
        """Log an error of a service in the block, and stop using the service."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            service = self._services.pop(name, None)
            if service is not None:
                with contextlib.suppress(Exception):  # the first error is the one to show
                    service.tracker.close(error)
            reason = _without_secrets(f"{type(error).__name__}: {error}")
            self._log.warning(f"{name}: {reason}; the run continues and is not tracked there")


class _Service:
    """A service that gets each step once."""

    def __init__(self, tracker: Tracker, note: Callable[[int], None]):
        """Begin; `note` gets the newest step whenever rows were given to the service."""
        self.tracker, self._note = tracker, note
        self._row: dict[str, float] = {}
        self._step = NEVER

    def catch_up(self, scalars: Mapping[str, float], step: int) -> None:
        """Add scalars that earlier processes have logged, unless the service has them."""
        if step > self.tracker.last:
            self.log(scalars, step)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add scalars of a step; a remote service that has the step keeps what it has."""
        if self.tracker.remote and step <= self.tracker.last:
            return
        if step != self._step:
            self.send()
        self._row |= scalars
        self._step = step
        if not self.tracker.remote:
            self.send()

    def send(self) -> None:
        """Give the service the scalars that it does not have yet."""
        row, self._row = self._row, {}
        if row:
            self.tracker.log(row, self._step)
            self._note(self._step)


def _without_secrets(message: str) -> str:
    """Return an error message of another package on one line, without the values of secrets."""
    return masking.without(one_line(message), masking.secrets(os.environ))[:_LONGEST]


def _open_tracker(name: str, run: TrackedRun, step: int, say: Callable[[str], None]) -> Tracker:
    if is_hook(name):
        return HookTracker(_hook(name), run)
    module, _, attribute = OPENERS[name].partition(":")
    tracker: Tracker = getattr(importlib.import_module(module), attribute)(run, step, say)
    return tracker


def _hook(name: str) -> Callable[[TrackedRun], Any]:
    """Return the function `module:function`; the module may be in the current folder."""
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        function: Callable[[TrackedRun], Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(
            f"config.track: {name!r} cannot be imported ({reason}); expected MODULE:FUNCTION with "
            f"a module that is installed or in {here}"
        ) from error
    return function
