"""Messages for errors of disks and memory, and output that nobody reads or that has no space."""

import signal
import sys
import traceback
from typing import TextIO

from teacherlm_jax.errors import ExplainedError, UserError, is_out_of_memory, one_line
from teacherlm_jax.runs import console, distributed
from teacherlm_jax.storage import disk_errors, store_errors
from teacherlm_jax.wording import printable


class ReaderGone(Exception):
    """The program that reads the standard output has ended, as `head` does."""


def print_out(text: str) -> None:
    """Print a text to the standard output at once, without control characters.

    Raises ReaderGone if nobody reads it, and UserError if it cannot be written.
    """
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:  # such as a full disk
        console.discard(sys.stdout)
        reason = one_line(error.strerror or error)
        raise UserError(f"standard output: {reason}; write it to another file") from None


def of_the_machine(error: Exception) -> str | None:
    """Return the message for an error of a disk, path or connection; None for any other error."""
    if isinstance(error, ConnectionError) and error.filename is None:
        return (
            f"a connection to another program or machine broke ({one_line(error)}); finished work "
            "is intact: repeat the command to resume"
        )
    explained = disk_errors.explain(error, "config.output") or store_errors.explain(error)
    if explained is None:
        return None
    return (
        f"{explained}; finished work is intact: correct this, or set another config.output, then "
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


def message(error: BaseException, lower: str) -> str:
    """Return the message for an error, in one line; a bug's traceback is shown first.

    `lower`: see `of_memory`.
    """
    if isinstance(error, ExplainedError):
        return str(error)
    known = isinstance(error, Exception) and (of_the_machine(error) or of_memory(error, lower))
    if known:
        return known
    traceback.print_exception(error)
    return one_line(f"{type(error).__name__}: {error}")


def silence(stream: TextIO) -> int:
    """Discard the buffer of a stream whose reader is gone; return the status of SIGPIPE."""
    console.discard(stream)
    return 128 + signal.SIGPIPE


def show(message: object) -> None:
    """Print a message to standard error, once if several processes have the same error."""
    if sys.stderr is None or distributed.shown_by_first(str(message)):
        return
    try:
        print(printable(f"teacherlm: {message}"), file=sys.stderr, flush=True)
    except OSError:
        console.discard(sys.stderr)
