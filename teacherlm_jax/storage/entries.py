"""Entries of a folder with size and age, on this machine or in a bucket; nothing below them."""

import dataclasses
import os
import time
from pathlib import Path

from etils import epath

from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote, refusing
from teacherlm_jax.storage.paths import StoragePath


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or folder.

    Attributes:
        size: bytes of a file; 0 for a folder.
        age: seconds since its last change, by the clock of its disk or bucket; None for a folder in
            a bucket.
        is_folder: whether it is a folder.
    """

    size: int
    age: float | None
    is_folder: bool


def list_entries(folder: epath.PathLike, skew: float = 0.0) -> dict[str, Entry]:
    """Return the entries of a folder by name, sorted; empty if there is no such folder.

    Args:
        folder: the folder.
        skew: seconds by which the clock of this machine is ahead of that of the bucket; see
            `objects.clock_skew`.

    Raises UserError if the folder cannot be read, and StoreError if the store refuses.
    """
    if is_remote(folder):
        now = time.time() - skew
        return {
            name: Entry(size, None if changed is None else max(0.0, now - changed), is_folder)
            for name, (size, changed, is_folder) in sorted(objects.entries(folder).items())
        }
    path = Path(folder)
    if not path.is_dir():
        return {}
    listed = {}
    with refusing(StoragePath(path)):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if (described := _local(entry)) is not None:
                listed[entry.name] = described
    return listed


def _local(entry: os.DirEntry[str]) -> Entry | None:
    """Return the entry; None if it was removed since it was listed.

    A link that cannot be followed, as one to itself, counts as a file: reading it gives the reason.
    """
    try:
        stat, is_folder = entry.stat(), entry.is_dir()
    except FileNotFoundError:
        return None
    except OSError:
        stat, is_folder = entry.stat(follow_symlinks=False), False
    age = max(0.0, time.time() - stat.st_mtime)
    return Entry(0 if is_folder else stat.st_size, age, is_folder)
