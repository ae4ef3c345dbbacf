"""Errors of the machine as messages for its user, and output to limited consoles."""

import io
import os
import signal
from typing import TextIO

from teacherlm_jax.errors import is_out_of_memory
from teacherlm_jax.storage import disk_errors


def of_the_machine(error: Exception) -> str | None:
    """Return the message for an error of a disk or an unusable path; None for any other error."""
    explained = disk_errors.explain(error, "config.output")
    if explained is None:
        return None
    return (
        f"{explained}; finished work is intact: correct that, or set another config.output, then "
        "repeat the command"
    )


def of_memory(error: Exception, lower: str) -> str | None:
    """Return the message for an out-of-memory error; None for any other error.

    `lower` names the config keys that reduce the memory of the verb that ran.
    """
    if not is_out_of_memory(error):
        return None
    reason = (str(error).splitlines() or [""])[0].strip()
    details = f" ({reason})" if reason else ""
    return f"out of memory{details}; lower {lower}, or use devices with more memory"


def allow_any_text(stream: TextIO) -> None:
    """Let a stream escape characters that its encoding lacks, in place of an error."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> int:
    """Discard what a stream whose reader is gone still holds; return the status of SIGPIPE."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
    return 128 + signal.SIGPIPE
