"""Removal of the files of a refused command, so that only runs that began are left on disk."""

import contextlib
from pathlib import Path

from teacherlm_jax.runs import identity, layout

_FILES = (layout.CONFIG, layout.INPUTS, layout.VERSIONS, layout.LOG, layout.LOCK)


class Leftovers:
    """Files and folders that a command creates in its run folder before its work begins."""

    def __init__(self, folder: Path):
        """Note what exists already; call this before the run folder is created."""
        self._folder = folder
        self._created = [path for path in (folder, *folder.parents) if not path.exists()]
        self._existing: set[str] = set()
        self._foreign: set[str] = set()  # files of a folder that is not yet a run folder
        if folder.is_dir():
            self._existing = {entry.name for entry in folder.iterdir()}
            if layout.CONFIG not in self._existing:
                self._foreign = identity.work_entries(folder)

    def remove(self) -> None:
        """Remove them, and the folder if it is empty then, unless the run's work has begun.

        Anything that existed before the command stays, and so do files that a message may name,
        such as `refused.jsonl`.
        """
        if not self._folder.is_dir() or identity.work_entries(self._folder) - self._foreign:
            return
        for entry in list(self._folder.iterdir()):
            if entry.name in self._existing:
                continue
            if entry.name in _FILES:
                entry.unlink(missing_ok=True)
            elif entry.is_dir():
                with contextlib.suppress(OSError):  # not empty
                    entry.rmdir()
        with contextlib.suppress(OSError):  # not empty
            for path in self._created:
                path.rmdir()
