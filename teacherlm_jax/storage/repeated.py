"""Work that a thread repeats every few seconds."""

import contextlib
import threading
from collections.abc import Callable


class Repeated:
    """A thread that calls a function every few seconds until `end`."""

    def __init__(self, every: float, work: Callable[[], None], say: Callable[[str], None]):
        """Start the thread.

        Args:
            every: seconds between two calls.
            work: the function.
            say: gets a line about each call that fails; the next call tries again.
        """
        self._every, self._work, self._say = every, work, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for the call that is in progress, and make no other one."""
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self._work()
            except Exception as error:  # of the store, its client or the disk
                with contextlib.suppress(OSError):  # of a log on the full disk; the thread goes on
                    self._say(f"{error}; trying again in {self._every:.0f} s")
