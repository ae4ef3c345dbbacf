"""Work that a thread repeats every few seconds."""

import contextlib
import threading
from collections.abc import Callable


def say_if_possible(say: Callable[[str], object], message: str) -> None:
    """Log a message, and go on if the log cannot be written, for example because a disk is full."""
    with contextlib.suppress(OSError):
        say(message)


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
                say_if_possible(self._say, f"{error}; trying again in {self._every:.0f} s")
