"""A disk that is full for a while, for tests: some or all files cannot be written."""

import errno
import io
import os
import re

from teacherlm_jax.runs.run_log import LogFile
from teacherlm_jax.storage import growing


class FullDisk:
    """A disk with enough space until `fill`.

    Attributes:
        refused: names of the files that were refused.
    """

    def __init__(self, patch):
        """Watch files that are written as a whole, and those that grow, with pytest's `patch`."""
        self.refused: list[str] = []
        self._number, self._full = errno.ENOSPC, None
        emit, disk = LogFile.emit, self

        class Growing(io.FileIO):
            def write(self, block):
                if disk._refuses(self.name):
                    super().write(block[: len(block) // 2])  # a line that is cut off
                    disk._refuse()
                return super().write(block)

        def fsync(handle):
            if self._refuses(os.readlink(f"/proc/self/fd/{handle}")):
                self._refuse()

        def log(handler, record):
            if self._refuses(handler.baseFilename):
                raise OSError(self._number, os.strerror(self._number), handler.baseFilename)
            emit(handler, record)

        def opened(path, *, replace=False):
            return Growing(path, "w" if replace else "a")

        patch.setattr(os, "fsync", fsync)
        patch.setattr(growing, "open_growing", opened)
        patch.setattr(LogFile, "emit", log)

    def fill(self, pattern="", number=errno.ENOSPC):
        """Refuse to write files whose names match from now on, with the number of an error."""
        self._full, self._number = re.compile(pattern), number

    def clear(self):
        """Make room."""
        self._full = None

    def _refuses(self, name):
        refuses = self._full is not None and self._full.search(str(name)) is not None
        if refuses:
            self.refused.append(str(name))
        return refuses

    def _refuse(self):
        raise OSError(self._number, os.strerror(self._number))
