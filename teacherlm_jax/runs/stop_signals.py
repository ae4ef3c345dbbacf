"""Signals that stop a command: SIGTERM, Ctrl-C (SIGINT) and a closed terminal (SIGHUP)."""

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
    """Call `handler` for each of these signals while the block runs; for the main thread."""
    before = {number: signal.signal(number, handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
