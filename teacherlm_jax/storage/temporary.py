"""Temporary folders on this machine; the next process removes those of a killed one."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_PREFIX = "teacherlm-"
_MARK = ".mark"  # file in a temporary folder, locked until its process ends


class TemporaryFolder:
    """A new folder in `TMPDIR`, empty except for a hidden file.

    Attributes:
        path: the folder.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None):
        """Create the folder; `say` gets a line about each folder of a killed process."""
        _remove_abandoned(say)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        unlocked = self.path / f"{_MARK}.new"
        self._mark = unlocked.open("w")
        fcntl.flock(self._mark, fcntl.LOCK_EX)
        unlocked.rename(self.path / _MARK)  # other processes never see it without its lock

    def keep(self) -> None:
        """Keep the folder: no process removes it."""
        (self.path / _MARK).unlink(missing_ok=True)
        self._mark.close()

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._mark.close()


def _remove_abandoned(say: Callable[[str], None]) -> None:
    for mark in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_MARK}"):
        with contextlib.suppress(OSError), mark.open() as file:  # another user's, or gone by now
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            say(f"{mark.parent}: removing the temporary files of a process that was killed")
            shutil.rmtree(mark.parent, ignore_errors=True)
