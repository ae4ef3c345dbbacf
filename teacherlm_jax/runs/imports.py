"""Imports of large packages, which take most of the start of a command."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage during imports.

    Modules are no garbage, but Python would look through all of them again and again, for about a
    tenth of the time of importing JAX or TensorFlow.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
