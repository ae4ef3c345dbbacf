"""Where the wall time of a run goes: every moment belongs to just one activity."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

# What a run does. `input` is the time for which the devices had nothing to do because rows were
# waited for; `repeated` was spent on steps that an interruption undid.
ACTIVITIES = (
    "start",
    "compile",
    "steps",
    "input",
    "checkpoint",
    "validation",
    "repeated",
)


class Account:
    """Seconds by activity, of this process and of those that worked on the run before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Starts with the activity `start`; `clock` gives seconds."""
        self._clock = clock
        self._mark = clock()
        self._activity = "start"
        self._spent = dict.fromkeys(ACTIVITIES, 0.0)

    def seconds(self) -> dict[str, float]:
        """Seconds by activity until now."""
        self._count()
        return dict(self._spent)

    def turn_to(self, activity: str) -> None:
        """Ends the present activity and begins another, one of ACTIVITIES."""
        if activity not in self._spent:
            raise ValueError(f"{activity!r} is none of {ACTIVITIES}")
        self._count()
        self._activity = activity

    @contextlib.contextmanager
    def on(self, activity: str) -> Iterator[None]:
        """Turns to an activity for a while, and back."""
        before = self._activity
        self.turn_to(activity)
        try:
            yield
        finally:
            self.turn_to(before)

    def move(self, seconds: float, source: str, target: str) -> None:
        """Counts some of one activity's seconds as another's."""
        self._spent[source] -= seconds
        self._spent[target] += seconds

    def add(self, earlier: Mapping[str, float]) -> None:
        """Counts seconds by activity that were spent in a process that is gone."""
        for name, seconds in earlier.items():
            self._spent[name] += seconds

    def _count(self) -> None:
        now = self._clock()
        self._spent[self._activity] += now - self._mark
        self._mark = now
