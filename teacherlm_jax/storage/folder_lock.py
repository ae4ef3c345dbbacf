"""Locks, so that no two processes write to one folder, on a file system or in a bucket.

On a file system the lock is `flock` on a file. The system releases it when its holder dies.

In a bucket the holder creates the object LOCK/NUMBER and writes to it again every few seconds (the
heartbeat). Only one process can create an object, and numbers only grow: the lock belongs to the
highest number. A holder that was killed has no heartbeat any more, and the next process creates the
next number. A holder that was only paused finds the higher number and stops.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote

HEARTBEAT = 10.0  # seconds between two writes of the holder
STALE = 60.0  # seconds without a heartbeat after which the holder counts as gone


class FolderLock(Protocol):
    """A lock that this process holds."""

    def check(self) -> None:
        """Raise UserError if another process has taken the lock over."""

    def release(self) -> None:
        """Give the lock back; the folder is free at once."""


def acquire(
    lock: epath.PathLike,
    *,
    beat: float = HEARTBEAT,
    stale: float = STALE,
    say: Callable[[str], None] = lambda line: None,
) -> FolderLock:
    """Take the lock of a folder.

    If another process holds the lock in a bucket, this waits for a heartbeat: with one the holder
    is alive, and the lock is refused; without one in `stale` seconds the lock is taken over. A
    holder on this machine that does not exist any more needs no wait.

    Args:
        lock: address of the lock in the folder, such as `gs://bucket/runs/a/.lock`.
        beat: seconds between two heartbeats.
        stale: seconds without a heartbeat after which a holder counts as gone.
        say: gets one line if this call has to wait.

    Raises UserError that names the holder.
    """
    name = f"{socket.gethostname()}, process {os.getpid()}"
    if is_remote(lock):
        return _acquire_object(os.fspath(lock), f"{name}, {secrets.token_hex(4)}", beat, stale, say)
    return _FileLock(Path(lock), name)


class _FileLock:
    """The lock of a folder on a file system."""

    def __init__(self, path: Path, name: str):
        self._file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.fstat(self._file.fileno()).st_nlink > 0  # its folder was not just removed
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks
            return
        if not free:
            self._file.seek(0)
            holder = self._file.read()
            self._file.close()
            raise _refusal(path.parent, holder)
        with contextlib.suppress(OSError):  # a full disk: only the name of the holder is lost
            self._file.truncate(0)
            self._file.write(name)
            self._file.flush()

    def check(self) -> None:
        """Do nothing: the system keeps the lock."""

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()


class _ObjectLock:
    """The lock of a folder in a bucket, with its heartbeat."""

    def __init__(self, lock: str, number: int, name: str, beat: float):
        self._lock, self._number, self._name = lock, number, name
        self._ended, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._beat, args=(beat,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise UserError if another process has taken the lock over."""
        if self._lost:
            raise UserError(
                f"{_folder(self._lock)}: another process has taken over this run folder, because "
                "this process did not reach the store in time; stop one of the two"
            )

    def release(self) -> None:
        """Give the lock back; the folder is free at once."""
        self._ended.set()
        self._thread.join()
        if not self._lost:
            objects.put(f"{self._lock}/{self._number}", _content(self._name, free=True))

    def _beat(self, beat: float) -> None:
        count = 0
        while not self._ended.wait(beat):
            count += 1
            with contextlib.suppress(UserError):  # of a store that fails in passing
                if _newest(self._lock)[0] > self._number:
                    self._lost = True
                    return
                objects.put(f"{self._lock}/{self._number}", _content(self._name, count=count))


def _acquire_object(
    lock: str, name: str, beat: float, stale: float, say: Callable[[str], None]
) -> FolderLock:
    number, content = _newest(lock)
    if content and not content["free"]:
        _await_end(lock, number, content, beat, stale, say)
    mine = f"{lock}/{number + 1}"
    if not objects.create(mine, _content(name)):
        raise _refusal(_folder(lock), _holder(_newest(lock)[1]))
    for old in _numbers(lock):
        if old <= number:
            objects.remove(f"{lock}/{old}")
    return _ObjectLock(lock, number + 1, name, beat)


def _await_end(
    lock: str,
    number: int,
    content: dict[str, Any],
    beat: float,
    stale: float,
    say: Callable[[str], None],
) -> None:
    """Return when the holder is gone; raise UserError if it shows a sign of life."""
    if _is_dead(_holder(content)):
        return
    say(
        f"{_folder(lock)}: locked by {_holder(content)}; waiting up to {stale:.0f} s for its "
        "heartbeat"
    )
    end = time.monotonic() + stale
    while time.monotonic() < end:
        time.sleep(beat / 2)
        latest, now = _newest(lock)
        if now != content or latest != number:
            if latest == number and now and now["free"]:
                return
            raise _refusal(_folder(lock), _holder(now))


def _is_dead(holder: str) -> bool:
    """Return whether the holder was a process of this machine that does not exist any more."""
    host, _, rest = holder.partition(", process ")
    number = rest.split(",")[0]
    return host == socket.gethostname() and number.isdigit() and not is_running(int(number))


def is_running(number: int) -> bool:
    """Return whether a process of this machine exists, by its number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _refusal(folder: epath.PathLike, holder: str) -> UserError:
    by = f" ({holder})" if holder else ""
    return UserError(
        f"{os.fspath(folder)}: another process{by} is using this run folder; wait for it or stop it"
    )


def _folder(lock: str) -> str:
    return lock.rpartition("/")[0]


def _numbers(lock: str) -> list[int]:
    return sorted(int(name) for name in objects.listing(lock) if name.isdigit())


def _newest(lock: str) -> tuple[int, dict[str, Any] | None]:
    """Return the highest number and its content; (0, None) if the folder was never locked."""
    numbers = _numbers(lock)
    if not numbers:
        return 0, None
    content = objects.read(f"{lock}/{numbers[-1]}")
    return numbers[-1], json.loads(content) if content else None


def _content(name: str, *, count: int = 0, free: bool = False) -> bytes:
    return json.dumps({"holder": name, "heartbeat": count, "free": free}).encode()


def _holder(content: dict[str, Any] | None) -> str:
    return content["holder"] if content else ""
