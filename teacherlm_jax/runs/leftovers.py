"""Removal of the files of a refused command, so that only runs that began are left on disk."""

import contextlib
from pathlib import Path

from etils import epath

from teacherlm_jax.runs import identity, layout
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import StoragePath

_FILES = (layout.CONFIG, layout.INPUTS, layout.VERSIONS, layout.LOG, layout.LOCK, layout.JOB)
_FOLDERS = (layout.SHARDS, layout.CLAIMS, layout.WORKERS)


class Leftovers:
    """Files and folders that a command creates in its run folder before its work begins.

    Attributes:
        log: name of the log of this process.
        copy: folder on this machine with copies of some files of a folder in a bucket.
    """

    def __init__(self, folder: epath.PathLike):
        """Note what exists already; call this before the run folder is created."""
        self.log = layout.LOG
        self.copy: Path | None = None
        self._folder = StoragePath(folder)
        path = Path(folder)
        above = () if is_remote(folder) else (path, *path.parents)
        self._created = [path for path in above if not path.exists()]
        self._existing = set(files.names(folder))
        self._foreign: set[str] = set()  # files of a folder that is not yet a run folder
        if layout.CONFIG not in self._existing:
            self._foreign = identity.work_entries(self._folder)

    def remove(self) -> None:
        """Remove them, and the folder if it is empty then, unless the run's work has begun.

        Anything that existed before the command stays, and so do files that a message may name,
        such as `refused.jsonl`.
        """
        if identity.work_entries(self._folder) - self._foreign:
            return
        for name in set(files.names(self._folder)) - self._existing:
            entry = self._folder / name
            if name in _FOLDERS:
                exchange.remove(entry)
            elif name in _FILES or name == self.log:
                files.remove(entry)
            elif not is_remote(entry) and entry.is_dir():
                with contextlib.suppress(OSError):  # not empty
                    Path(entry).rmdir()
        if self.copy is not None:
            for name in {*_FILES, self.log} - self._existing:
                (self.copy / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            for path in self._created:
                path.rmdir()
