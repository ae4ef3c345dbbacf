"""Errors of writing to a disk: named after their file, and explained in one line.

Disks fill up, and shared disks also fail in passing. Python's own errors of writing do not name
the file, and libraries that write files themselves raise exceptions of their own.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

# Errors of a disk, whatever the program did. Others, such as ENOENT, may be errors of the program,
# unless they name a file.
_ERRORS = (
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


def explain(error: BaseException, default: str) -> str | None:
    """Return "FILE: REASON" for an error of a disk, or None for any other error.

    Args:
        error: an OSError, or an exception of a library that was caused by one or quotes its text.
        default: what to name if the error does not name a file.
    """
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None and error.errno not in _ERRORS:
            return None
        return f"{error.filename or default}: {os.strerror(error.errno)}"
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _ERRORS:
        return explain(error.__cause__, default)
    message = str(error)
    for number in _ERRORS:
        if os.strerror(number) in message:
            quoted = re.search(r'"(/[^"]+)"', message)
            return f"{quoted[1] if quoted else default}: {os.strerror(number)}"
    return None
