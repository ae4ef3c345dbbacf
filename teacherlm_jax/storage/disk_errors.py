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


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Set the file name of an OSError that is raised in the block, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


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
    for number in ERRORS:
        if os.strerror(number) in message:
            quoted = re.search(r'"(/[^"]+)"', message)
            return f"{quoted[1] if quoted else default}: {os.strerror(number)}"
    return None
