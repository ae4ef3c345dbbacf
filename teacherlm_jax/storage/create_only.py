"""Files that are created once: of several processes that create the same file, one succeeds."""

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.storage import objects
from teacherlm_jax.storage.complete_file import complete_beside
from teacherlm_jax.storage.locations import is_remote

# Answers of file systems without hard links, such as those that mount a bucket.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP)


def create_bytes(path: epath.PathLike, content: bytes) -> bool:
    """Create a file with its whole content and return True, or return False if it exists.

    In a bucket, True is also returned for an object with the same content. Raises an error that
    names the file if it cannot be written.
    """
    if is_remote(path):
        return objects.create(path, content)
    path = Path(path)
    with complete_beside(path, content) as temporary:
        return _link(temporary, path)


def _link(temporary: str, path: Path) -> bool:
    """Give a complete file a second name; return False if another file has that name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:  # the name is taken, then filled
            file = path.open("xb")
        except FileExistsError:
            return False
        try:  # the name is this process's now
            with file:
                file.write(Path(temporary).read_bytes())
        except BaseException:  # such as a full disk, or a signal
            path.unlink(missing_ok=True)
            raise
    return True


def create_jsonl(path: epath.PathLike, rows: Iterable[Any]) -> bool:
    """Create a file with one JSON value per line; see `create_bytes`."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return create_bytes(path, text.encode())
