"""The lock of a folder in a bucket: an object with a heartbeat, which others can take over.

The holder creates the object LOCK/NUMBER and replaces it every few seconds (the heartbeat). Only
one process can create an object, and the lock belongs to the highest number. A holder that was
killed sends no heartbeats, so another process takes the lock over and creates the next number. A
holder that was only paused sees the higher number and stops. Numbers start again at 1 when a lock
is removed, so each holder writes a random token, and stops when it sees another one. A heartbeat is
written on the condition that the object still has the generation that the holder has read, so a
write that arrives late cannot replace the object of another holder.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.storage import holders, objects
from teacherlm_jax.storage.repeated import say_if_possible

HEARTBEAT = 10.0  # seconds between two writes of the holder
STALE = 60.0  # seconds without a heartbeat after which the holder counts as gone


class _Newest(NamedTuple):
    """The object of a lock with the highest number, its content and its generation."""

    number: int = 0
    content: dict[str, Any] | None = None
    generation: str = ""


class ObjectLock:
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
        try:
            if self._lost or not (generation := self._held_generation()):
                return
            if remove:
                objects.remove(self._own)
            else:
                objects.replace_version(self._own, _content(self._token, free=True), generation)
        except ExplainedError as error:
            cause = str(error).partition("; ")[0]  # without advice about the command
            self._say(
                f"{_folder(self._lock)}: the lock was not released and expires in "
                f"{self._stale:.0f} s: {cause}"
            )

    def _repeat(self, beat: float) -> None:
        while not self._ended.wait(beat) and not self._lost:
            try:
                self._renew()
            except Exception as error:  # of the store or of its client; the next beat tries again
                lock = _folder(self._lock)
                say_if_possible(self._say, f"{lock}: the lock cannot be renewed: {error}")

    def _renew(self) -> None:
        """Write the heartbeat, or note that the lock is lost.

        The store is asked again after the write, which may have been retried for so long that
        another process has taken over in the meantime. If another heartbeat of this holder was
        written at the same time, by `check` or late, this one is dropped and the lock is kept.
        """
        generation = self._held_generation()
        if generation is not None:
            began = time.monotonic()
            self._count += 1
            content = _content(self._token, count=self._count)
            written = objects.replace_version(self._own, content, generation)
            if self._held_generation():
                self._last = began if written else self._last
                return
        self._lost = True

    @property
    def _own(self) -> str:
        """Address of this holder's object."""
        return f"{self._lock}/{self._number}"

    def _held_generation(self) -> str | None:
        """Return the generation of this holder's object, or None if the lock is lost."""
        number, content, generation = _newest(self._lock)
        is_own = content is not None and content["token"] == self._token
        return generation if number == self._number and is_own else None


def acquire(lock: str, beat: float, stale: float, say: Callable[[str], None]) -> ObjectLock:
    """Take the lock of a folder in a bucket; see `folder_lock.acquire`."""
    number, content, _ = _newest(lock)
    if content and not content["free"]:
        number = _await_end(lock, number, content, beat, stale, say)
    token = secrets.token_hex(8)
    if not objects.create(f"{lock}/{number + 1}", _content(token)):
        raise holders.refusal(_folder(lock), _holder(_newest(lock).content))
    held = ObjectLock(lock, number + 1, token, beat, stale, say)
    with contextlib.suppress(ExplainedError):  # objects of earlier holders, which do no harm
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
        latest, now, _ = _newest(lock)
        if now is None or now["free"]:
            return latest
        if now != content or latest != number:
            raise holders.refusal(_folder(lock), _holder(now))
    return number


def _folder(lock: str) -> str:
    return lock.rpartition("/")[0]


def _numbers(lock: str) -> list[int]:
    return sorted(int(name) for name in objects.listing(lock) if name.isdigit())


def _newest(lock: str) -> _Newest:
    """Return the object with the highest number; without content if there is none."""
    while numbers := _numbers(lock):
        version = objects.read_version(f"{lock}/{numbers[-1]}")
        if version is not None:  # not removed since it was listed
            return _Newest(numbers[-1], json.loads(version[0]), version[1])
    return _Newest()


def _content(token: str, *, count: int = 0, free: bool = False) -> bytes:
    return json.dumps(
        {**holders.description(), "token": token, "heartbeat": count, "free": free}
    ).encode()


def _holder(content: dict[str, Any] | None) -> str:
    return content["holder"] if content else ""
