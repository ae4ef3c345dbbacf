"""SeqIO tasks and mixtures over raw data sets: the only room that imports TensorFlow."""

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
def chatter_held_back() -> Iterator[None]:
    """Drops what is written to standard error, unless the block fails: then all of it is shown.

    This holds for processes that begin in the block, too. While it loads and looks for devices,
    TensorFlow's native code reports the GPU libraries that a machine lacks, whatever the log level.
    It reads data here; nobody wants a GPU of it.
    """
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(console, held.read())
            raise
        finally:
            os.dup2(console, 2)
            os.close(console)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Lets Ctrl-C wait for the end of the block, and take effect then.

    While they load, TensorFlow and its company take any exception for a library that is not there.
    """
    if threading.current_thread() is not threading.main_thread():  # where no signal is handled
        yield
        return
    met: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: met.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if met:
        signal.raise_signal(signal.SIGINT)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _interrupts_held_back(), chatter_held_back():
    importlib.import_module("seqio")
    importlib.import_module("tensorflow").config.set_visible_devices([], "GPU")  # for models alone

logging.set_verbosity(logging.ERROR)  # SeqIO warns of every source that is not cached
