"""Imports of large packages, which take most of the start of a command."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Turn the garbage collector off during imports.

    The collector would scan the growing set of modules again and again, although none of them is
    garbage. That takes about a tenth of the time of importing JAX or TensorFlow.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
