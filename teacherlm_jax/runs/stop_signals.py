"""Signals that stop a command: SIGTERM, Ctrl-C (SIGINT) and a closed terminal (SIGHUP).

A terminal that is closed sends SIGHUP twice within a millisecond: the shell sends it, and then the
kernel. So the second SIGHUP must not count as the user's wish to end at once.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

Handler = Callable[[int, Any], None]


def stop_signals() -> list[signal.Signals]:
    """Return the signals to handle: not SIGHUP if it is ignored, as under `nohup`."""
    hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hangup else [])]


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Call `handler` for each of these signals while the block runs; for the main thread.

    After the first SIGHUP, this process ignores SIGHUP for good.
    """

    def handle(number: int, frame: Any) -> None:
        if ignore_after(number):
            before.pop(signal.Signals(number), None)
        handler(number, frame)

    before = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def ignore_after(number: int) -> bool:
    """Ignore SIGHUP from now on if this signal is one; return whether it is."""
    if number != signal.SIGHUP:
        return False
    signal.signal(number, signal.SIG_IGN)
    return True
