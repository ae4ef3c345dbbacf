"""Locks, so that no two processes write to one folder, on a file system or in a bucket.

On a file system the lock is `flock` on a file. The system releases it when its holder dies. The
file names the holder, who renews its time as a heartbeat for `lock_holder`, and empties it at the
end.
In a bucket the lock is an object with a heartbeat; see `object_lock`.
"""

import contextlib
import fcntl
import json
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TextIO

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import holders, object_lock
from teacherlm_jax.storage.holders import FolderInUse
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.repeated import Repeated

_POLL_SECONDS = 0.5  # between two attempts to take a lock
_TRIES = 10  # to create its file


class FolderLock(Protocol):
    """A lock that this process holds."""

    def check(self) -> None:
        """Raise UserError if another process has taken the lock over."""

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; the folder is free at once.

        If a store refuses, the lock stays until it is stale, and `say` gets one line: what the
        holder wrote is complete nevertheless, or its own error matters more.

        Args:
            remove: also remove the lock's own file or objects from a folder that is complete.
        """


def acquire(
    lock: epath.PathLike,
    *,
    beat: float = object_lock.HEARTBEAT,
    stale: float = object_lock.STALE,
    say: Callable[[str], None] = lambda line: None,
) -> FolderLock:
    """Take the lock of a folder; one on this machine is created.

    If another process holds the lock in a bucket, this waits for a heartbeat: with one the holder
    is alive, and the lock is refused; without one in `stale` seconds the lock is taken over. A
    holder on this machine that does not exist any more needs no wait.

    Args:
        lock: address of the lock in the folder, such as `gs://bucket/runs/a/.lock`.
        beat: seconds between two heartbeats.
        stale: seconds without a heartbeat after which a holder counts as gone.
        say: gets lines: if this call has to wait, and if the lock cannot be renewed or released.

    Raises UserError that names the holder.
    """
    if is_remote(lock):
        return object_lock.acquire(os.fspath(lock), beat, stale, say)
    return _FileLock(Path(lock), beat, say)


def acquire_when_free(
    lock: epath.PathLike,
    say: Callable[[str], None],
    say_of_disk: Callable[[str], None],
) -> FolderLock:
    """Take the lock of a folder as `acquire` does, and wait as long as another process holds it.

    Args:
        lock: see `acquire`.
        say: gets one line if this call has to wait.
        say_of_disk: gets a line if the disk has no locks.
    """
    waiting = False
    while True:
        try:
            return acquire(lock) if is_remote(lock) else acquire(lock, say=say_of_disk)
        except FolderInUse as error:
            if not waiting:
                say(f"{str(error).partition('; ')[0]}; waiting for it")
            waiting = True
        time.sleep(_POLL_SECONDS)


class _FileLock:
    """The lock of a folder on a file system."""

    def __init__(self, path: Path, beat: float, say: Callable[[str], None]):
        if path.is_dir():
            _remove_copy(path)
        self._path, self._file = path, _created(path)
        self._heartbeat: Repeated | None = None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.fstat(self._file.fileno()).st_nlink > 0  # its folder was not just removed
        except BlockingIOError:
            free = False
        except OSError as error:
            say(
                f"{path.parent}: this file system has no locks ({error}); make sure that only one "
                "process uses the folder"
            )
            return
        if not free:
            self._file.seek(0)
            holder = self._file.readline().strip()
            self._file.close()
            raise holders.refusal(path.parent, holder)
        with contextlib.suppress(OSError):  # a full disk: only the name of the holder is lost
            self._file.truncate(0)
            self._file.write(f"{holders.name()}\n{holders.machine()}")
            self._file.flush()
        self._heartbeat = Repeated(beat, _renewal(weakref.ref(self)), lambda line: None)

    def renew(self) -> None:
        """Renew the time of the file; nothing depends on it but what `lock_holder` shows."""
        os.utime(self._file.fileno())

    def check(self) -> None:
        """Do nothing: the system keeps the lock."""

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back."""
        if self._heartbeat is not None:
            self._heartbeat.end()
            self._heartbeat = None
            with contextlib.suppress(OSError):  # only the name of the holder stays
                self._file.truncate(0)
        if remove:
            self._path.unlink(missing_ok=True)
        self._file.close()


def _created(path: Path) -> TextIO:
    """Open the file of a lock, and create its folder, which another process may be removing."""
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return path.open("a+", encoding="utf-8")
    return path.open("a+", encoding="utf-8")  # such as a link to nothing: raises the error


def _renewal(reference: "weakref.ref[_FileLock]") -> Callable[[], None]:
    """Return a function that renews a lock, which is still released when nobody refers to it."""

    def renew() -> None:
        if (lock := reference()) is not None:
            lock.renew()

    return renew


def _remove_copy(lock: Path) -> None:
    """Remove the lock of a folder in a bucket from a copy of that folder on a file system.

    Raises UserError if the lock was held when it was copied: its holder may still be at work.
    """
    copies = sorted((path for path in lock.iterdir() if path.name.isdigit()), key=_number)
    try:
        content = json.loads(copies[-1].read_bytes()) if copies else {"free": True}
    except ValueError:  # an incomplete copy
        content = {}
    if not content.get("free"):
        by = f" by {content['holder']}" if "holder" in content else ""
        raise UserError(
            f"{lock}: this lock was held{by} when the folder was copied from a bucket; if that "
            f"process has ended, remove {lock}"
        )
    for path in copies:
        path.unlink()
    lock.rmdir()


def _number(path: Path) -> int:
    return int(path.name)
