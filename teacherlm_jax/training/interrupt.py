"""Stop a run between two steps on SIGTERM, SIGINT or SIGHUP, after saving it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

from teacherlm_jax.errors import Interrupted
from teacherlm_jax.runs.stop_signals import ignore_after, stop_signals


class StopRequests:
    """SIGTERM, SIGINT and SIGHUP, deferred until the current step is finished.

    SIGHUP stays ignored if it is, as under `nohup`.
    """

    def __init__(self) -> None:
        """Handle signals if this is the main thread of a single-process run.

        Python lets only the main thread handle signals; in other threads nothing changes. If
        several processes train together, JAX's preemption service catches SIGTERM.
        """
        self._last_queried = 0
        self._received: list[signal.Signals] = []
        self._before: dict[int, Any] = {}
        main = threading.current_thread() is threading.main_thread()
        self._handles_signals = main and jax.process_count() == 1

    def __call__(self, step: int) -> signal.Signals | None:
        """Return the signal that arrived, or None; call it after every step, with its number.

        Several processes get it at the same step, which JAX's preemption service chooses.
        """
        if jax.process_count() > 1:
            # The service chooses the number after the last one queried and counts from 1, but a
            # resumed run begins later, so the numbers before its first step are queried, too.
            numbers = range(self._last_queried + 1, step + 1)
            self._last_queried = max(step, self._last_queried)
            reached = [multihost_utils.reached_preemption_sync_point(number) for number in numbers]
            return signal.SIGTERM if any(reached) else None
        return self._received[0] if self._received else None

    def hold(self) -> None:
        """Defer signals; a second SIGTERM or SIGINT takes effect at once."""
        for number in stop_signals() if self._handles_signals else ():
            self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Restore the previous signal handlers."""
        while self._before:
            signal.signal(*self._before.popitem())

    @contextlib.contextmanager
    def immediate(self) -> Iterator[None]:
        """Let signals take effect at once while the block runs and there is nothing to save.

        SIGTERM ends the process with one line and status 143 even during compilation: Python's
        own handlers would wait for the compiler, so a thread reads the signal.
        """
        if not self._handles_signals:
            yield
            return
        self.release()
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
        wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        thread = threading.Thread(target=_exit_on_sigterm, args=(readable,), daemon=True)
        thread.start()
        try:
            while self._received:  # deferred until now
                number = self._received.pop()
                if number == signal.SIGHUP:
                    signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGTERM, handler)
            os.close(writable)
            thread.join()
            os.close(readable)
            self.hold()

    def _note(self, number: int, frame: object) -> None:
        self._received.append(signal.Signals(number))
        before = self._before[number]
        if ignore_after(number):
            del self._before[number]
        else:
            signal.signal(number, before)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Defer signals that stop a run while the block runs."""
    requests = StopRequests()
    requests.hold()
    try:
        yield requests
    finally:
        requests.release()


def _exit_on_sigterm(readable: int) -> None:
    """Read signal numbers from a pipe until it is closed; exit the process on SIGTERM."""
    while number := os.read(readable, 1):
        if number[0] == signal.SIGTERM:
            with contextlib.suppress(OSError):  # the reader of stderr is gone
                print(
                    "teacherlm: SIGTERM before the first step: nothing to save; repeat the "
                    "command to start again",
                    file=sys.stderr,
                    flush=True,
                )
            os._exit(128 + signal.SIGTERM)


def interruption(received: signal.Signals, step: int, steps: int) -> Interrupted:
    """Return the exception that ends a run, saved at `step` of `steps`, after a signal."""
    return Interrupted(
        f"{received.name}: saved at step {step} of {steps}; repeat the command to resume",
        status=128 + received,
    )
