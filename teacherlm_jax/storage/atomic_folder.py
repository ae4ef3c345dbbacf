"""A folder that appears complete or not at all, on this machine or in a bucket.

On a file system the folder is written under another name and renamed. Objects cannot be renamed, so
in a bucket they get their final names at once, and the object `.partial` says that the folder is
incomplete.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from etils import epath

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.storage import files, folder_lock, objects
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import StoragePath

_LOCK = ".lock"  # in a folder in a bucket
_EXPLANATION = b"This folder is not complete. It is complete when this object is gone.\n"


@dataclasses.dataclass(frozen=True)
class UnfinishedFolder:
    """A folder that is being written.

    Attributes:
        path: the folder to write the files in.
        check: raises UserError if another process has taken the folder over; call it before a file
            in a bucket appears.
    """

    path: epath.Path
    check: Callable[[], None]


@contextlib.contextmanager
def whole_or_nothing(
    path: epath.PathLike, say: Callable[[str], None] = lambda line: None
) -> Iterator[UnfinishedFolder]:
    """Yield a folder for files; `path` is complete when the block ends without an error.

    The block writes no folders into it. Files left by a killed process are removed first, and files
    of a block that fails are removed, too. `say` gets lines about the lock: if another
    process may be writing the folder, and if it cannot be released.

    Raises UserError when `path` is not empty or is a mount point, or when another process is
    writing it.
    """
    if is_remote(path):
        with _objects(StoragePath(path), say) as folder:
            yield folder
        return
    place = Path(os.path.realpath(path))  # so that renaming does not replace a symbolic link
    _refuse_unusable(place)
    partial = place.with_name(f".{place.name}{files.PARTIAL}")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        _lock(lock, place)
        try:
            for left in partial.iterdir():
                left.unlink()
            yield UnfinishedFolder(StoragePath(partial), lambda: None)
            files.publish(partial, place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def refuse_partial(folder: epath.PathLike) -> None:
    """Raise UserError for a folder in a bucket that `whole_or_nothing` has not completed."""
    if is_remote(folder) and objects.read(StoragePath(folder) / files.PARTIAL) is not None:
        raise UserError(
            f"{folder}: is not complete; wait until the command that writes it has finished, or "
            "repeat that command"
        )


def _refuse_unusable(path: Path) -> None:
    if os.path.ismount(path):
        raise UserError(
            f"{path}: is a mount point, which cannot be replaced by the finished folder; name a "
            f"folder in it, such as {path / 'model'}"
        )
    if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
        raise _existing(path)


def _existing(path: epath.PathLike) -> UserError:
    return UserError(f"{path}: already exists; remove it, or name another folder")


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path}: another process is writing it; wait for it or stop it") from None
    except OSError:  # a file system without locks
        return


@contextlib.contextmanager
def _objects(path: epath.Path, say: Callable[[str], None]) -> Iterator[UnfinishedFolder]:
    """Yield the folder itself; `.partial` is there until the block has ended without an error."""
    objects.refuse_missing_bucket(path)
    _refuse_objects(path)
    lock = folder_lock.acquire(path / _LOCK, say=say)
    try:
        _refuse_objects(path)  # another process may have completed it in the meantime
        objects.put(path / files.PARTIAL, _EXPLANATION)
        _remove_objects(path)
        try:
            yield UnfinishedFolder(path, lock.check)
            lock.check()
        except BaseException:
            with contextlib.suppress(ExplainedError):
                lock.check()
                _remove_objects(path)
                objects.remove(path / files.PARTIAL)
            raise
        objects.remove(path / files.PARTIAL)
    finally:
        lock.release(remove=True)


def _names(path: epath.Path) -> list[str]:
    """Return the names of all objects in a folder except those of its lock."""
    return [name for name in objects.listing(path) if not name.startswith(f"{_LOCK}/")]


def _refuse_objects(path: epath.Path) -> None:
    """Raise UserError unless the folder is empty or was left incomplete.

    Folders in it are somebody else's, because only files are written here.
    """
    names = _names(path)
    if names and (files.PARTIAL not in names or any("/" in name for name in names)):
        raise _existing(path)


def _remove_objects(path: epath.Path) -> None:
    for name in _names(path):
        if name != files.PARTIAL:
            objects.remove(path / name)
