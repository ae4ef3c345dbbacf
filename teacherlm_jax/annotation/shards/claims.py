"""Claims on shards: files that one process creates, so that no two work on the same shard.

A claim is `NAME.NUMBER`, and the highest number counts. If its process is dead, others
may create the next number. Two processes on one shard write the same texts, so a claim saves work;
nothing depends on it.
"""

import contextlib
import json

from etils import epath

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files
from teacherlm_jax.storage.create_only import create_bytes


class ShardClaims:
    """The claims in a folder, by this process and by others."""

    def __init__(self, folder: epath.Path, workers: Workers):
        self._folder, self._workers = folder, workers
        self._own: dict[str, int] = {}  # number by name
        self._others: dict[str, str] = {}  # worker by file, as it was read last

    def held(self) -> set[str]:
        """Return the names that are claimed by this process, or by another one that is alive."""
        return set(self._own) | self.held_by_others()

    def held_by_others(self) -> set[str]:
        """Return the names that are claimed by other processes that are alive."""
        alive = self._workers.alive()
        return {
            name
            for name, number in self._numbers().items()
            if name not in self._own and self._holder(f"{name}.{number}", alive)
        }

    def take(self, name: str) -> bool:
        """Claim a free name; return False if another process was faster."""
        number = self._numbers().get(name, 0) + 1
        content = json.dumps({"worker": self._workers.own}).encode()
        if not create_bytes(self._folder / f"{name}.{number}", content):
            return False
        self._own[name] = number
        return True

    def release(self, name: str) -> None:
        """Remove a claim of this process, if it has one, and older claims that it replaced."""
        number = self._own.pop(name, 0)
        for earlier in range(1, number + 1):
            files.remove(self._folder / f"{name}.{earlier}")

    def release_all(self) -> None:
        """Remove all claims of this process at its end; others take over one that stays."""
        for name in list(self._own):
            with contextlib.suppress(ExplainedError, OSError):
                self.release(name)

    def remove_gone(self) -> None:
        """Remove the claims of processes that are gone.

        Files that they did not finish are removed if no other process is alive.
        """
        listed, held, alone = files.names(self._folder), self.held(), not self._workers.others()
        for file in listed:
            gone = alone if file.startswith(".") else file.rpartition(".")[0] not in held
            if gone:
                files.remove(self._folder / file)

    def _numbers(self) -> dict[str, int]:
        """Return the highest number of each name."""
        numbers: dict[str, int] = {}
        for file in files.names(self._folder):
            name, _, number = file.rpartition(".")
            if number.isdigit() and not name.startswith("."):
                numbers[name] = max(int(number), numbers.get(name, 0))
        return numbers

    def _holder(self, file: str, alive: set[str]) -> bool:
        """Return whether a claim is that of a process that is alive."""
        if self._worker(file) in alive:
            return True
        # A process that ended may have removed its claim, and another one created the file again.
        self._others.pop(file, None)
        return self._worker(file) in alive

    def _worker(self, file: str) -> str:
        if file not in self._others:
            try:
                self._others[file] = files.read_json(self._folder / file)["worker"]
            except UserError:  # released since it was listed
                return ""
        return self._others[file]
