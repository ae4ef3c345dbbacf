"""Errors of the machine as messages for its user, and output to limited consoles."""

import errno
import io
import os
import re
import signal
from typing import TextIO


def of_the_machine(error: Exception) -> str | None:
    """Return the message for a full disk or an unusable path; None for any other error.

    Libraries that write files themselves report a full disk by errors of their own.
    """
    full = os.strerror(errno.ENOSPC)
    if isinstance(error, OSError) and error.errno is not None:
        name, problem = error.filename or "config.output", os.strerror(error.errno)
        known = error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        quoted = re.search(r'"(/[^"]+)"', str(error))
        name, problem = quoted[1] if quoted else "config.output", full
        known = full in str(error)
    if not known:
        return None
    return (
        f"{name}: {problem}; finished work is intact: correct that, or set another config.output, "
        "then repeat the command"
    )


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
