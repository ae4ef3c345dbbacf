"""Leaving on SIGTERM and SIGINT at a moment of our choosing: between steps, with the run saved."""

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# What JAX's preemption service is told in the place of the step: it counts from 0, and waits for
# exactly the next number, which would never come in a run that goes on from a later step.
_ASKED = itertools.count(1)


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[int], signal.Signals | None]]:
    """Holds back SIGTERM and SIGINT while the block runs.

    Gives a function to be asked after every step, with its number: the signal that came, or None.
    The same signal once more acts at once, as it would have before. Where several processes train
    together, JAX's preemption service catches SIGTERM and picks one step at which all hear of it.
    """
    received: list[signal.Signals] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        signal.signal(number, before[number])

    def asked(step: int) -> signal.Signals | None:
        if jax.process_count() > 1:
            reached = multihost_utils.reached_preemption_sync_point(next(_ASKED))
            return signal.SIGTERM if reached else None
        return received[0] if received else None

    # Python lets only the main thread handle signals; elsewhere they do what they always did.
    ours = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
    for number in _SIGNALS if ours else ():
        before[number] = signal.signal(number, note)
    try:
        yield asked
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
