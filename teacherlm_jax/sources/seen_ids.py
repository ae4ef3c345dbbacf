"""Ids of the samples that were read so far, outside of the memory of this process."""

import sqlite3
from typing import Protocol


class SeenIds(Protocol):
    """A set of ids that grows; `set` is one."""

    def __contains__(self, id: object, /) -> bool: ...

    def __len__(self) -> int: ...

    def add(self, id: str, /) -> None:
        """Add an id."""


class StoredIds:
    """A set of ids in a temporary file, which the system removes with the process.

    Duplicate ids are found exactly, as with `set`, in a few microseconds per id.
    """

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("CREATE TABLE ids (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._count = 0

    def __contains__(self, id: object, /) -> bool:
        found = self._table.execute("SELECT 1 FROM ids WHERE id = ?", (stored_key(str(id)),))
        return found.fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def add(self, id: str, /) -> None:
        """Add an id."""
        added = self._table.execute("INSERT OR IGNORE INTO ids VALUES (?)", (stored_key(id),))
        self._count += added.rowcount


def stored_key(id: str) -> bytes:
    """Return the bytes by which a table on disk finds an id."""
    return id.encode("utf-8", "surrogatepass")  # half a surrogate is an id, too
