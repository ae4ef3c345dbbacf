"""Disk errors: messages of one line that name the file.

Disks can be full, and shared disks can fail temporarily. Python's own write errors do not name the
file, and libraries that write files raise exceptions of other classes.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

# Errors that are always caused by a disk. Others, such as ENOENT, may be errors of the program if
# they do not name a file.
ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EREMOTEIO),
)


def is_of_disk(error: OSError) -> bool:
    """Return whether an error of a library that reads files and a network is one of the disk."""
    return error.errno in ERRORS or None not in (error.errno, error.filename)


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Name the file in a disk error that is raised in the block, such as that of a full disk.

    An OSError gets the file's name. A RuntimeError of a library that quotes a disk error is raised
    as an OSError with that name.
    """
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        del error.filename2  # None would be shown, too: 'a' -> None
        raise
    except RuntimeError as error:
        number = _quoted(str(error))
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def is_local(error: OSError) -> bool:
    """Return whether an error is of a file on this machine, not of a store's client."""
    named = isinstance(error.filename, str) and "://" not in error.filename
    return named or error.errno in ERRORS


def explain(error: BaseException, default: str) -> str | None:
    """Return "FILE: REASON" for a disk error, or None for any other error.

    Args:
        error: an OSError, or an exception of a library that was caused by one or quotes its text.
        default: file or folder to name if the error does not name a file.
    """
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None and error.errno not in ERRORS:
            return None
        return f"{error.filename or default}: {os.strerror(error.errno)}"
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in ERRORS:
        return explain(error.__cause__, default)
    message = str(error)
    number = _quoted(message)
    if number is None:
        return None
    named = re.search(r'"(/[^"]+)"', message)
    return f"{named[1] if named else default}: {os.strerror(number)}"


def _quoted(message: str) -> int | None:
    """Return the number of the disk error whose text a message contains; None without one."""
    return next((number for number in ERRORS if os.strerror(number) in message), None)
