"""Locks, so that no two processes write to one folder, on a file system or in a bucket.

On a file system the lock is `flock` on a file. The system releases it when its holder dies.

In a bucket the holder creates the object LOCK/NUMBER and writes to it again every few seconds (the
heartbeat). Only one process can create an object, and the lock belongs to the highest number. A
holder that was killed has no heartbeat any more, and the next process creates the next number. A
holder that was only paused finds the higher number and stops. Numbers start again at 1 when a lock
is removed, so each holder writes a random token, and stops when it finds another one.
"""

import contextlib
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import holders, objects
from teacherlm_jax.storage.locations import is_remote

HEARTBEAT = 10.0  # seconds between two writes of the holder
STALE = 60.0  # seconds without a heartbeat after which the holder counts as gone


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
        say: gets lines: if this call has to wait, and if the lock cannot be renewed or released.

    Raises UserError that names the holder.
    """
    if is_remote(lock):
        return _acquire_object(os.fspath(lock), beat, stale, say)
    return _FileLock(Path(lock), say)


class _FileLock:
    """The lock of a folder on a file system."""

    def __init__(self, path: Path, say: Callable[[str], None]):
        if path.is_dir():
            _remove_copy(path)
        self._path, self._file = path, path.open("a+", encoding="utf-8")
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
            holder = self._file.read()
            self._file.close()
            raise _refusal(path.parent, holder)
        with contextlib.suppress(OSError):  # a full disk: only the name of the holder is lost
            self._file.truncate(0)
            self._file.write(holders.name())
            self._file.flush()

    def check(self) -> None:
        """Do nothing: the system keeps the lock."""

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back."""
        if remove:
            self._path.unlink(missing_ok=True)
        self._file.close()


class _ObjectLock:
    """The lock of a folder in a bucket, with its heartbeat."""

    def __init__(
        self,
        lock: str,
        number: int,
        token: str,
        beat: float,
        stale: float,
        say: Callable[[str], None],
    ):
        self._lock, self._number, self._token = lock, number, token
        self._stale, self._say = stale, say
        self._count, self._last = 0, time.monotonic()  # of the heartbeats
        self._ended, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._repeat, args=(beat,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise UserError if another process has taken the lock over.

        A holder that has not renewed the lock in time, such as one that was paused, renews it
        before it goes on.
        """
        if not self._lost and time.monotonic() - self._last > self._stale / 2:
            self._renew()
        if self._lost:
            raise UserError(
                f"{_folder(self._lock)}: another process has taken over this folder, because this "
                "process did not renew its lock in time, or the lock was removed; stop one of the "
                "two"
            )

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; the folder is free at once."""
        self._ended.set()
        self._thread.join()
        own = f"{self._lock}/{self._number}"
        try:
            if self._lost or not self._is_held():
                return
            if remove:
                objects.remove(own)
            else:
                objects.put(own, _content(self._token, free=True))
        except UserError as error:
            cause = str(error).partition("; ")[0]  # its advice is about the command
            self._say(
                f"{_folder(self._lock)}: the lock was not released and expires in "
                f"{self._stale:.0f} s: {cause}"
            )

    def _repeat(self, beat: float) -> None:
        while not self._ended.wait(beat) and not self._lost:
            try:
                self._renew()
            except Exception as error:  # of the store or of its client; the next beat tries again
                self._say(f"{_folder(self._lock)}: the lock cannot be renewed: {error}")

    def _renew(self) -> None:
        """Write the heartbeat, or note that the lock is lost.

        The store is asked again after the write, which may have been retried for so long that
        another process has taken over in the meantime.
        """
        if self._is_held():
            began = time.monotonic()
            self._count += 1
            objects.put(f"{self._lock}/{self._number}", _content(self._token, count=self._count))
            if self._is_held():
                self._last = began
                return
        self._lost = True

    def _is_held(self) -> bool:
        """Return whether the store says that the lock still belongs to this holder."""
        number, content = _newest(self._lock)
        return number == self._number and content is not None and content["token"] == self._token


def _acquire_object(lock: str, beat: float, stale: float, say: Callable[[str], None]) -> FolderLock:
    number, content = _newest(lock)
    if content and not content["free"]:
        number = _await_end(lock, number, content, beat, stale, say)
    token = secrets.token_hex(8)
    if not objects.create(f"{lock}/{number + 1}", _content(token)):
        raise _refusal(_folder(lock), _holder(_newest(lock)[1]))
    held = _ObjectLock(lock, number + 1, token, beat, stale, say)
    with contextlib.suppress(UserError):  # older numbers are only litter
        for old in _numbers(lock):
            if old <= number:
                objects.remove(f"{lock}/{old}")
    return held


def _await_end(
    lock: str,
    number: int,
    content: dict[str, Any],
    beat: float,
    stale: float,
    say: Callable[[str], None],
) -> int:
    """Return the highest number when its holder is gone, 0 if the lock was removed.

    Raises UserError if the holder is alive.
    """
    if holders.is_gone(content):
        return number
    say(
        f"{_folder(lock)}: locked by {_holder(content)}; waiting up to {stale:.0f} s for its "
        "heartbeat"
    )
    end = time.monotonic() + stale
    while time.monotonic() < end:
        time.sleep(beat / 2)
        latest, now = _newest(lock)
        if now is None or now["free"]:
            return latest
        if now != content or latest != number:
            raise _refusal(_folder(lock), _holder(now))
    return number


def _refusal(folder: epath.PathLike, holder: str) -> UserError:
    by = f" ({holder})" if holder else ""
    return UserError(
        f"{os.fspath(folder)}: another process{by} is using this folder; wait for it or stop it"
    )


def _folder(lock: str) -> str:
    return lock.rpartition("/")[0]


def _numbers(lock: str) -> list[int]:
    return sorted(int(name) for name in objects.listing(lock) if name.isdigit())


def _newest(lock: str) -> tuple[int, dict[str, Any] | None]:
    """Return the highest number and its content; (0, None) if there is none."""
    while numbers := _numbers(lock):
        if content := objects.read(f"{lock}/{numbers[-1]}"):  # not removed since it was listed
            return numbers[-1], json.loads(content)
    return 0, None


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


def _content(token: str, *, count: int = 0, free: bool = False) -> bytes:
    return json.dumps(
        {**holders.description(), "token": token, "heartbeat": count, "free": free}
    ).encode()


def _holder(content: dict[str, Any] | None) -> str:
    return content["holder"] if content else ""
