"""A folder that appears complete or not at all."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.errors import UserError


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Yield a folder for files that is renamed to `path` when the block ends without an error.

    Until then it is `.NAME.partial` beside `path`; files that a killed process left there are
    removed first. Raises UserError when `path` is not empty or is a mount point, or when another
    process is writing it.
    """
    path = Path(os.path.realpath(path))  # so that renaming does not replace a symbolic link
    if os.path.ismount(path):
        raise UserError(
            f"{path}: is a mount point, which cannot be replaced by the finished folder; name a "
            f"folder in it, such as {path / 'model'}"
        )
    if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
        raise UserError(f"{path}: already exists; remove it, or name another folder")
    partial = path.with_name(f".{path.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        _lock(lock, path)
        try:
            for left in partial.iterdir():
                left.unlink()
            yield partial
            os.fsync(lock)  # the directory entries; the files themselves are synced already
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
