"""A folder that is there as a whole or not at all."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.errors import UserError


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Gives a folder for files, which gets the name `path` when the block ends without an error.

    Until then it stands beside `path` as `.NAME.partial`; files that a killed process left there
    are removed first. Raises UserError when `path` holds something or is a mount point, or when
    another process is at work.
    """
    path = Path(os.path.realpath(path))  # renaming would put a folder in the place of a link
    if os.path.ismount(path):
        raise UserError(
            f"{path}: is a mount point, which no finished folder can take the place of; name a "
            f"folder in it, such as {path / 'model'}"
        )
    if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
        raise UserError(f"{path}: is there already; remove it, or name another folder")
    partial = path.with_name(f".{path.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        _lock(lock, path)
        try:
            for left in partial.iterdir():
                left.unlink()
            yield partial
            os.fsync(lock)  # the names of the files, which are on the disk already
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path}: another process is writing it; wait for it or stop it") from None
    except OSError:  # a file system without locks
        return
