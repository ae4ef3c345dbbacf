"""Leaving on SIGTERM and SIGINT at a moment of our choosing: between steps, with the run saved."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequests:
    """The signals that came while they were held back."""

    def __init__(self) -> None:
        """Takes signals over where it can: in the main thread of a run of one process.

        Python lets only the main thread handle them; elsewhere they do what they always did. Where
        several processes train together, JAX's preemption service catches SIGTERM.
        """
        self._asked = 0
        self._received: list[signal.Signals] = []
        self._before: dict[int, Any] = {}
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and jax.process_count() == 1

    def __call__(self, step: int) -> signal.Signals | None:
        """The signal that came, or None; to be asked after every step, with its number.

        Several processes hear of it at the same step, which JAX's preemption service picks.
        """
        if jax.process_count() > 1:
            # It picks the number after the last that was asked for, which is 1 when none was yet,
            # though a resumed run begins with a later one: so all are asked for, in order.
            numbers = range(self._asked + 1, step + 1)
            self._asked = max(step, self._asked)
            reached = [multihost_utils.reached_preemption_sync_point(number) for number in numbers]
            return signal.SIGTERM if any(reached) else None
        return self._received[0] if self._received else None

    def hold(self) -> None:
        """Holds signals back; the same one once more acts at once, as it would have before."""
        for number in _SIGNALS if self._ours else ():
            self._before[number] = signal.signal(number, self._note)

    def let_go(self) -> None:
        """Lets signals do what they did before."""
        while self._before:
            signal.signal(*self._before.popitem())

    @contextlib.contextmanager
    def acted_on(self) -> Iterator[None]:
        """Lets signals act while the block runs, in which there is nothing to save.

        SIGTERM ends the process at once, with a line and status 143, even if a compiler is at work:
        Python's own handlers would wait for that. A thread hears of signals without delay.
        """
        if not self._ours:
            yield
            return
        self.let_go()
        heard, tell = os.pipe()
        os.set_blocking(tell, False)
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)
        told_before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        thread = threading.Thread(target=_leave_on_sigterm, args=(heard,), daemon=True)
        thread.start()
        try:
            while self._received:  # those that were held back until now
                signal.raise_signal(self._received.pop())
            yield
        finally:
            signal.set_wakeup_fd(told_before)
            signal.signal(signal.SIGTERM, before)
            os.close(tell)
            thread.join()
            os.close(heard)
            self.hold()

    def _note(self, number: int, frame: object) -> None:
        self._received.append(signal.Signals(number))
        signal.signal(number, self._before[number])


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Holds back SIGTERM and SIGINT while the block runs."""
    requests = StopRequests()
    requests.hold()
    try:
        yield requests
    finally:
        requests.let_go()


def _leave_on_sigterm(heard: int) -> None:
    """Reads the numbers of signals from a pipe until it is closed."""
    while number := os.read(heard, 1):
        if number[0] == signal.SIGTERM:
            print(
                "teacherlm: SIGTERM: no step had begun that was to be saved; the same command "
                "goes on",
                file=sys.stderr,
                flush=True,
            )
            os._exit(128 + signal.SIGTERM)
