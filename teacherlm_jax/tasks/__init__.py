"""SeqIO tasks and mixtures over raw data sets: the only room that imports TensorFlow."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def _chatter_held_back() -> Iterator[None]:
    """Drops what is written to standard error, unless the block fails: then all of it is shown.

    While it loads, TensorFlow's native code reports the GPU libraries that a machine lacks, before
    any log level takes effect. It reads data here; nobody wants a GPU of it.
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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _chatter_held_back():
    importlib.import_module("seqio")
    _tensorflow = importlib.import_module("tensorflow")

_tensorflow.config.set_visible_devices([], "GPU")  # the memory is for models
logging.set_verbosity(logging.ERROR)  # SeqIO warns of every source that is not cached
