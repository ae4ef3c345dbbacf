"""Imports of large packages, which take most of the start of a command."""

import contextlib
import gc
from collections.abc import Iterator

_of_one_command = False  # this process runs one command and then ends


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Turn the garbage collector off during imports.

    The collector would scan the growing set of modules again and again, although none of them is
    garbage. That takes about a tenth of the time of importing JAX or TensorFlow. In a process that
    runs one command, later collections leave out what exists at the end of the block.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _of_one_command:
            gc.freeze()
        if was_enabled:
            gc.enable()


def leave_out_of_collections() -> None:
    """State that this process runs one command, so that nothing imported becomes garbage before.

    Without this, the modules of JAX and TensorFlow are searched during the command.
    """
    global _of_one_command
    _of_one_command = True
