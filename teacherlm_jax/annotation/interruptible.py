"""Signals that stop an annotation: they end it at once, because every counted text is on disk."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from teacherlm_jax.errors import Interrupted
from teacherlm_jax.runs.stop_signals import handling


@contextlib.contextmanager
def interruptible(state: Callable[[], str]) -> Iterator[None]:
    """Turn a stop signal in the block into Interrupted; `state` describes the work done so far.

    Only the main thread can handle signals; in other threads nothing changes.
    """
    received: list[int] = []
    try:
        with _terminable(received):
            yield
    except (KeyboardInterrupt, Exception) as error:
        # A library that was interrupted may raise an error of its own instead.
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        by = signal.Signals(received[0] if received else signal.SIGINT)
        raise Interrupted(
            f"{by.name}: stopped with {state()}; repeat the command to resume", status=128 + by
        ) from None


@contextlib.contextmanager
def _terminable(received: list[int]) -> Iterator[None]:
    """Let stop signals raise KeyboardInterrupt at once; their numbers are added to `received`."""

    def end(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with handling(end):
        yield
