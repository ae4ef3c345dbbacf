"""The holder of a folder's lock, read from its file or object without taking the lock."""

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.storage import files, holders
from teacherlm_jax.storage.entries import Entry, list_entries
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.object_lock import STALE
from teacherlm_jax.storage.paths import StoragePath

_NAME = re.compile(r"(?P<host>.+), process (?P<process>\d+)")


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that wrote a heartbeat.

    Attributes:
        name: host and number of the process.
        age: seconds since its last heartbeat.
        alive: whether the process works, as far as its heartbeat and this machine show.
        clock: time of the heartbeat by the holder's own clock, in seconds since 1970; None if it
            did not write it.
    """

    name: str
    age: float
    alive: bool
    clock: float | None = None


def read_holder(lock: epath.PathLike, skew: float = 0.0) -> Holder | None:
    """Return the last holder of a lock; None if the lock was released, or never taken.

    A holder that is not alive was killed, or its machine was lost.

    Args:
        lock: address of the lock, such as `gs://bucket/runs/a/.lock`.
        skew: see `list_entries`.

    Raises UserError for a damaged lock, and StoreError if the store refuses.
    """
    lock = StoragePath(lock)
    if not is_remote(lock) and not lock.is_dir():
        return _of_file(Path(lock))
    while entries := _numbered(lock, skew):
        newest = max(entries)
        try:
            content = files.read_json(lock / str(newest))
        except MissingFile:
            continue  # a new holder has removed it since it was listed
        if isinstance(content, dict) and content.get("free"):
            return None
        held = of_heartbeat(lock / str(newest), content, entries[newest].age or 0.0)
        # The lock of a bucket on a disk is a copy, with which nobody works.
        return held if is_remote(lock) else dataclasses.replace(held, alive=False)
    return None


def _numbered(lock: epath.Path, skew: float) -> dict[int, Entry]:
    listed = list_entries(lock, skew)
    return {int(name): entry for name, entry in listed.items() if name.isdigit()}


def of_heartbeat(path: epath.PathLike, content: Any, age: float) -> Holder:
    """Return the process that wrote the content of a heartbeat at `path` `age` seconds ago.

    Raises UserError if the content is not that of a heartbeat.
    """
    beat = content if isinstance(content, dict) else {}
    for key, kind in (("holder", str), ("process", int), ("machine", str)):
        if not isinstance(beat.get(key), kind):
            raise UserError(
                f"{os.fspath(path)}: not a heartbeat, whose {key} is of type {kind.__name__}; "
                "remove it if no process works in this folder"
            )
    clock = beat.get("time")
    alive = age < STALE and not holders.is_gone(beat)
    return Holder(beat["holder"], age, alive, clock if isinstance(clock, int | float) else None)


def _of_file(path: Path) -> Holder | None:
    """Return the holder that a lock file names; it changes the time of the file now and then."""
    entry = list_entries(path.parent).get(path.name)
    content = b""
    if entry is not None and entry.size:
        with contextlib.suppress(MissingFile):  # removed since it was listed
            content = files.read_bytes(path)
    if entry is None or not content:
        return None
    name, _, machine = content.decode("utf-8", "replace").partition("\n")
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{path}: expected a host and a process, got {name[:80]!r}")
    beat = {"holder": name, "process": int(match["process"]), "machine": machine.strip()}
    return of_heartbeat(path, beat, entry.age or 0.0)
