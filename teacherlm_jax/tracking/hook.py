"""A tracker of the user's own: a function that gets the run and yields a function that logs."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax.tracking.tracked_run import Scalar, TrackedRun
from teacherlm_jax.tracking.tracker import Table, numbers


class HookTracker:
    """A service behind a function of the user.

    The function is a generator that yields `log(scalars, step)`, as a fixture of pytest does, or
    returns it. An error that ends the run is raised where the generator yields.
    """

    remote = True
    where = ""

    def __init__(self, function: Callable[[TrackedRun], Any], run: TrackedRun):
        """Call the function up to its `yield`."""
        returned = function(run)
        self._generator = returned if inspect.isgenerator(returned) else None
        log = next(returned) if inspect.isgenerator(returned) else returned
        if not callable(log):
            raise TypeError(
                f"{function.__name__} gives {log!r}; expected a function log(scalars, step)"
            )
        self._log: Callable[[dict[str, float], int], object] = log
        self.last = run.step

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Call the user's function."""
        self._log(dict(scalars), step)

    def finish(self, summary: Mapping[str, Scalar], table: Table, step: int) -> None:
        """Call the user's function with the numbers of the result; the table is left out."""
        self._log(numbers(summary), step)

    def close(self, error: BaseException | None) -> None:
        """Continue the generator to its end."""
        if self._generator is None:
            return
        if error is None:
            next(self._generator, None)
            return
        with contextlib.suppress(type(error), StopIteration):
            self._generator.throw(error)
