"""The time of a training run: by activity, by window and by step."""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

# `input` is time in which the devices were idle because the next batch was not ready. `repeated` is
# time spent on steps that an interruption undid.
ACTIVITIES = ("start", "compile", "steps", "input", "checkpoint", "validation", "repeated")

_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


class Chronometer:
    """Wall time of a run, divided among ACTIVITIES.

    It begins with `start`. Times are in seconds; they include those of the processes that worked on
    the run before, except for the durations of single steps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Start counting; `clock` returns seconds."""
        self._clock = clock
        self._mark = clock()
        self._activity = "start"
        self._spent = dict.fromkeys(ACTIVITIES, 0.0)
        self._window_began = 0.0
        self._step_began: float | None = None
        self._durations: list[float] = []
        self._pool = concurrent.futures.ThreadPoolExecutor(1)

    def begin(self, activity: str) -> None:
        """End the current activity and begin another; ValueError if it is not in ACTIVITIES.

        A step that another activity interrupts has no duration.
        """
        if activity not in self._spent:
            raise ValueError(f"unknown activity {activity!r}; expected one of {ACTIVITIES}")
        self._count()
        if activity != self._activity:
            self._activity, self._step_began = activity, None

    @contextlib.contextmanager
    def pause(self, activity: str) -> Iterator[None]:
        """Count the block under another activity, then return to the current one."""
        before = self._activity
        self.begin(activity)
        try:
            yield
        finally:
            self.begin(before)

    @contextlib.contextmanager
    def fetching(self, running: Any) -> Iterator[None]:
        """Time a block that fetches the next batch while the devices compute `running`.

        Seconds of the block after the devices have finished count as `input`.
        """
        began, ended = self._clock(), self._pool.submit(self._end_of, running)
        yield
        if ended.done():
            idle = self._clock() - max(began, ended.result())
            self._spent[self._activity] -= idle
            self._spent["input"] += idle

    def end_step(self) -> None:
        """Mark the end of a step; its duration is kept unless it was interrupted."""
        now = self._clock()
        if self._step_began is not None:
            self._durations.append(now - self._step_began)
        self._step_began = now

    def end_window(self) -> float:
        """Return the training seconds since the last window ended, and begin another window."""
        seconds = self.window_seconds
        self._window_began += seconds
        return seconds

    @property
    def window_seconds(self) -> float:
        """Training seconds since the last window ended."""
        return self.training_seconds - self._window_began

    @property
    def training_seconds(self) -> float:
        """Seconds in steps and waiting for input; compiling, validating and saving not counted."""
        spent = self.seconds()
        return spent["steps"] + spent["input"]

    def seconds(self) -> dict[str, float]:
        """Return the seconds by activity until now."""
        self._count()
        return dict(self._spent)

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps, JSON-serializable; see `resume`."""
        return {"window_seconds": self.window_seconds, "spent": self.seconds()}

    def resume(self, earlier: Mapping[str, Any], repeated: float) -> None:
        """Continue from the `state()` of a checkpoint; call it once, before the first step.

        Args:
            earlier: the state; empty for a new run.
            repeated: seconds of steps after that checkpoint, which are lost.
        """
        for name, seconds in {**earlier.get("spent", {})}.items():
            self._spent[name] += seconds
        self._spent["repeated"] += repeated
        self._window_began = self.training_seconds - float(earlier.get("window_seconds", 0.0))

    def summary(self) -> dict[str, Any]:
        """Return the time by activity, and the step times.

        `wall_seconds`; `seconds` and `share` by activity; `goodput`, the share of `steps`;
        `step_seconds`, see `percentiles`.
        """
        seconds = self.seconds()
        wall = sum(seconds.values())
        share = {name: spent / max(wall, 1e-9) for name, spent in seconds.items()}
        return {
            "step_seconds": percentiles(self._durations),
            "wall_seconds": wall,
            "seconds": seconds,
            "share": share,
            "goodput": share["steps"],
        }

    def close(self) -> None:
        """End the thread that waits for the devices."""
        self._pool.shutdown()

    def _count(self) -> None:
        now = self._clock()
        self._spent[self._activity] += now - self._mark
        self._mark = now

    def _end_of(self, running: Any) -> float:
        """Wait for arrays on the devices; return when they were ready."""
        jax.block_until_ready(running)
        return self._clock()


def percentiles(durations: list[float]) -> dict[str, float]:
    """Return median, 90th and 99th percentile, maximum and count of step times; may be empty."""
    if not durations:
        return {}
    values = {name: float(np.percentile(durations, q)) for name, q in _PERCENTILES.items()}
    return {**values, "count": len(durations)}


def clock(seconds: float) -> str:
    """Return seconds as `0:42`, `12:05` or `3:00:09`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
