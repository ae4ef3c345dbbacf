"""A jsonl file that grows on a disk or in a bucket.

Objects in a bucket do not grow. There the rows grow in a file on this machine, which `publish`
uploads whole.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.growing import GrowingRows
from teacherlm_jax.storage.locations import is_remote


class PublishedRows:
    """A jsonl file open for appending, at a path on this machine or in a bucket."""

    def __init__(self, path: epath.PathLike, rows: Iterable[Any], scratch: Path):
        """Replace the file by `rows`, atomically, and open it; in a bucket, publish nothing yet.

        Args:
            path: the file.
            rows: its first rows.
            scratch: folder on this machine in which files of a bucket grow, under their names
                without `gs://`.
        """
        self._path, self._remote = path, is_remote(path)
        self._here = scratch / str(path).partition("://")[2] if self._remote else Path(path)
        files.write_jsonl(self._here, rows)
        self._rows = GrowingRows(self._here)
        self._publishing = threading.Lock()
        self._changed = self._remote

    def add(self, row: Any) -> None:
        """Append one row; on a disk it is in the file when this returns."""
        self._rows.add(row)
        self._changed = self._remote

    def publish(self) -> None:
        """Upload the file if it is in a bucket and has changed."""
        with self._publishing:
            if self._changed:
                self._changed = False
                try:
                    objects.upload(self._here, self._path)
                except BaseException:
                    self._changed = True
                    raise

    def close(self) -> None:
        """Publish the file and close it; if the store refuses it, it stays in `scratch`."""
        try:
            self.publish()
        except BaseException:
            self._rows.close()
            raise
        self._close()

    def remove(self) -> None:
        """Close the file and remove it."""
        with self._publishing:  # another thread may publish at this moment
            self._close()
            files.remove(self._path)

    def _close(self) -> None:
        self._changed = False
        self._rows.close()
        if self._remote:
            self._here.unlink(missing_ok=True)
