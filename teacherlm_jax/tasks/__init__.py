"""SeqIO tasks and mixtures over raw datasets: the only room that imports TensorFlow."""

import contextlib
import importlib
import os
import signal
import threading
from collections.abc import Iterator

from absl import logging

from teacherlm_jax.runs.console import quiet_stderr


@contextlib.contextmanager
def _delayed_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block.

    TensorFlow and the libraries that it imports treat any exception during their import as a
    missing library.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one handles signals
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received:
        signal.raise_signal(signal.SIGINT)


# TensorFlow's native code complains about missing GPU libraries at any log level, but it only reads
# data here and needs no GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _delayed_interrupt(), quiet_stderr():
    importlib.import_module("seqio")
    importlib.import_module("tensorflow").config.set_visible_devices([], "GPU")  # JAX uses the GPUs

logging.set_verbosity(logging.ERROR)  # SeqIO warns about every source that is not cached
