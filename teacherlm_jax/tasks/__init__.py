"""SeqIO tasks and mixtures over raw datasets: the only room that imports TensorFlow."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard standard error of the block and its child processes; show it if the block fails.

    When TensorFlow is imported, its native code complains about missing GPU libraries at any log
    level. TensorFlow only reads data here and needs no GPU.
    """
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(console, captured.read())
            raise
        finally:
            os.dup2(console, 2)
            os.close(console)


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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _delayed_interrupt(), quiet_stderr():
    importlib.import_module("seqio")
    importlib.import_module("tensorflow").config.set_visible_devices([], "GPU")  # JAX uses the GPUs

logging.set_verbosity(logging.ERROR)  # SeqIO warns about every source that is not cached
