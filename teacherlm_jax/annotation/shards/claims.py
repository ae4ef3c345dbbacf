"""Claims on shards: files that one process creates, so that no two work on the same shard.

A claim is `NAME.NUMBER`. If its process is dead, others may create the next number. A process that
only seemed dead, such as one on a machine that slept, still has its claim when it resumes. Two
processes on one shard write the same texts, so a claim saves work. Only the gate that compares all
explanations depends on claims: its verdicts are added when no living process has one, see
`shard_queue`.
"""

import contextlib
import json
import time

from etils import epath

from teacherlm_jax.errors import ExplainedError, MissingFile, UserError
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files
from teacherlm_jax.storage.create_only import create_bytes

_WRITE_SECONDS = 10.0  # for the content of a new claim
_REREAD_SECONDS = 10.0  # between two readings of a claim whose process is dead


class ShardClaims:
    """The claims in a folder, by this process and by others."""

    def __init__(self, folder: epath.Path, workers: Workers):
        self._folder, self._workers = folder, workers
        self._own: dict[str, int] = {}  # number by name
        self._others: dict[str, str] = {}  # worker by file, as it was read last
        self._unread: dict[str, float] = {}  # first time at which a file could not be read
        self._dead: dict[str, float] = {}  # last time at which a claim of a dead process was read

    def held(self) -> set[str]:
        """Return the names that are claimed by this process, or by another one that is alive."""
        return set(self._own) | self.held_by_others()

    def held_by_others(self) -> set[str]:
        """Return the names that are claimed by other processes that are alive."""
        alive = self._workers.alive()
        return {
            name
            for name, numbers in self._numbers().items()
            if any(
                number != self._own.get(name) and self._is_held(f"{name}.{number}", alive)
                for number in numbers
            )
        }

    def take(self, name: str) -> bool:
        """Claim a free name; return False if another process was faster."""
        numbers = self._numbers().get(name, [])
        alive = self._workers.alive()
        if any(self._is_held(f"{name}.{number}", alive) for number in numbers):
            return False
        number = max(numbers, default=0) + 1
        content = json.dumps({"worker": self._workers.own}).encode()
        if not create_bytes(self._folder / f"{name}.{number}", content):
            return False
        self._own[name] = number
        return True

    def release(self, name: str) -> None:
        """Remove a claim of this process, if it has one.

        Claims that it replaced stay, because their processes may only seem dead.
        """
        if number := self._own.pop(name, 0):
            files.remove(self._folder / f"{name}.{number}")

    def release_all(self) -> None:
        """Remove all claims of this process at its end; others take over one that stays."""
        for name in list(self._own):
            with contextlib.suppress(ExplainedError, OSError):
                self.release(name)

    def remove_gone(self) -> None:
        """Remove the claims of processes that are gone.

        Files that they did not finish are removed if no other process is alive.
        """
        listed, alive = files.names(self._folder), self._workers.alive()
        for file in listed:
            if file.startswith("."):
                gone = alive == {self._workers.own}
            else:
                gone = not self._is_held(file, alive)
            if gone:
                files.remove(self._folder / file)

    def _numbers(self) -> dict[str, list[int]]:
        """Return the numbers of each name."""
        numbers: dict[str, list[int]] = {}
        for file in files.names(self._folder):
            name, _, number = file.rpartition(".")
            if number.isdigit() and not name.startswith("."):
                numbers.setdefault(name, []).append(int(number))
        return numbers

    def _is_held(self, file: str, alive: set[str]) -> bool:
        """Return whether a claim is that of a process that is alive."""
        if self._worker(file) in alive:
            return True
        if time.monotonic() - self._dead.get(file, -_REREAD_SECONDS) < _REREAD_SECONDS:
            return False
        # A process that ended may have removed its claim, and another one created the file again.
        self._others.pop(file, None)
        if worker := self._worker(file):
            if worker not in alive:
                self._dead[file] = time.monotonic()
            return worker in alive
        # Without hard links, a process creates the file and then writes it.
        unread_since = self._unread.get(file)
        if unread_since is None or alive == {self._workers.own}:
            return False
        return time.monotonic() - unread_since < _WRITE_SECONDS

    def _worker(self, file: str) -> str:
        """Return the process of a claim, or "" if the claim is gone or cannot be read."""
        if file not in self._others:
            try:
                self._others[file] = files.read_json(self._folder / file)["worker"]
            except MissingFile:  # released since it was listed
                self._unread.pop(file, None)
                return ""
            except UserError:
                self._unread.setdefault(file, time.monotonic())
                return ""
            self._unread.pop(file, None)
        return self._others[file]
