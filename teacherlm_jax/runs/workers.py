"""Processes that work in one run folder at the same time, each with a heartbeat.

Each process writes `workers/NAME.json` every few seconds. It is gone if the file is missing or has
not changed for a while, or at once if it ran on this machine and has ended.
"""

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from etils import epath

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.storage import files, holders
from teacherlm_jax.storage.lock_holder import of_heartbeat
from teacherlm_jax.storage.object_lock import HEARTBEAT, STALE
from teacherlm_jax.storage.repeated import Repeated

_LONG_GONE = 600.0  # seconds since a heartbeat by the clocks of both machines, which may differ


class Workers:
    """The processes at work in a folder, and the heartbeat of this one.

    Attributes:
        own: name of this process, such as `host-1234-a1b2`.
    """

    def __init__(
        self,
        folder: epath.Path,
        say: Callable[[str], None],
        *,
        beat: float = HEARTBEAT,
        stale: float = STALE,
    ):
        """Write nothing yet.

        Args:
            folder: the folder of the heartbeats.
            say: gets lines about heartbeats that cannot be written.
            beat: seconds between two heartbeats.
            stale: seconds without a heartbeat after which another process counts as gone.
        """
        host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:40]
        self.own = f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
        self._folder, self._say = folder, say
        self._beat, self._stale, self._count = beat, stale, 0
        self._seen: dict[str, tuple[Any, float]] = {}  # heartbeat and time of its first sight
        self._thread: Repeated | None = None

    def join(self) -> None:
        """Write the first heartbeat, and the others in the background."""
        self._write()
        self._thread = Repeated(self._beat, self._write, self._say)

    def leave(self) -> None:
        """End the heartbeat and remove its file."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None
            with contextlib.suppress(ExplainedError, OSError):  # it becomes stale
                files.remove(self._path(self.own))

    def others(self) -> list[str]:
        """Return the names of the other processes that are alive."""
        return sorted(self.alive() - {self.own})

    def alive(self) -> set[str]:
        """Return the names of all processes that are alive, with this one."""
        alive = {self.own}
        for file in files.names(self._folder):
            name = file.removesuffix(".json")
            if name not in alive and not name.startswith(".") and self._is_alive(name):
                alive.add(name)
        return alive

    def remove_gone(self) -> None:
        """Remove the files of processes that are gone."""
        listed, alive = files.names(self._folder), self.alive()
        for file in listed:
            next_beat = file.startswith(".") and len(alive) > 1  # perhaps of one that is alive
            if file.removesuffix(".json") not in alive and not next_beat:
                with contextlib.suppress(ExplainedError, OSError):
                    files.remove(self._folder / file)

    def _is_alive(self, name: str) -> bool:
        path, now = self._path(name), time.monotonic()
        try:
            beat = files.read_json(path)
            holder = of_heartbeat(path, beat, 0.0)
        except UserError:  # it has left
            return False
        far = holder.clock is None or abs(time.time() - holder.clock) > _LONG_GONE
        if far or not holder.alive:
            return False
        if self._seen.get(name, (None, now))[0] != beat:
            self._seen[name] = (beat, now)
        return now - self._seen[name][1] < self._stale

    def _write(self) -> None:
        self._count += 1
        beat = {**holders.description(), "heartbeat": self._count}
        files.write_json(self._path(self.own), beat)

    def _path(self, name: str) -> epath.Path:
        return self._folder / f"{name}.json"
