"""Files of a run that may be written at the same time, and may be damaged."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.entries import Entry, list_entries
from teacherlm_jax.storage.locations import is_remote

_TAIL = 64 << 10  # bytes that are read from the end of a file


class RunFiles:
    """The files of a run folder.

    A damaged file, or a part of the folder that cannot be read, counts as missing, and its fault is
    noted.

    Attributes:
        folder: the run folder.
        skew: seconds by which this machine's clock is ahead of that of the bucket.
        faults: what is wrong with files, in the order in which they were read.
    """

    def __init__(self, folder: epath.Path, skew: float = 0.0):
        self.folder, self.skew = folder, skew
        self.faults: list[str] = []
        self._listed: dict[str, dict[str, Entry]] = {}

    def entries(self, part: str = "") -> dict[str, Entry]:
        """Return the entries of the run folder, or of a folder in it; empty if there is none.

        Raises UserError if the run folder itself cannot be read.
        """
        if part not in self._listed:
            try:
                self._listed[part] = list_entries(self.folder / part, self.skew)
            except UserError as error:
                if not part:
                    raise
                self.faults.append(str(error))
                self._listed[part] = {}
        return self._listed[part]

    def has(self, name: str) -> bool:
        """Return whether there is a file or folder; `name` may be a path such as "data/a.json"."""
        return self._entry(name) is not None

    def age(self, name: str) -> float | None:
        """Return the seconds since the last change of a file; None if it is missing."""
        entry = self._entry(name)
        return None if entry is None else entry.age

    def json(self, name: str, kinds: Mapping[str, type] | None = None) -> dict[str, Any]:
        """Return the object in a JSON file; empty if the file is missing or damaged.

        `kinds` has the type of the value of some keys; values of another type are left out, and
        noted.
        """
        if not self.has(name):
            return {}
        path = self.folder / name
        try:
            content = files.read_json(path)
        except MissingFile:
            return {}
        except UserError as error:
            self.faults.append(str(error))
            return {}
        if not isinstance(content, dict):
            kind = type(content).__name__
            self.faults.append(f"{path}: expected a JSON object, got {kind}")
            return {}
        for key, expected in (kinds or {}).items():
            if key in content and not isinstance(content[key], expected):
                kind = type(content.pop(key)).__name__
                self.faults.append(f"{path}: {key}: expected {expected.__name__}, got {kind}")
        return content

    def tail(self, name: str) -> list[str]:
        """Return the last complete lines of a text file, at most those of its last 64 KiB."""
        entry = self._entry(name)
        if entry is None:
            return []
        try:
            content = _last_bytes(self.folder / name, entry.size)
        except MissingFile:
            return []
        except UserError as error:
            self.faults.append(str(error))
            return []
        text = content.decode("utf-8", "replace")
        if entry.size > _TAIL:  # the first line is not complete
            text = text.partition("\n")[2]
        complete, _, _ = text.rpartition("\n")  # the last line may not be written yet
        return complete.split("\n") if complete else []

    def last_rows(self, name: str) -> list[dict[str, Any]]:
        """Return the last rows of a jsonl file; damaged lines are noted and left out."""
        rows, damaged = list[dict[str, Any]](), 0
        for line in self.tail(name):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                damaged += bool(line.strip())
        if damaged:
            lines = f"{damaged} of its last lines {'are' if damaged > 1 else 'is'}"
            self.faults.append(f"{self.folder / name}: {lines} not a JSON object")
        return rows

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield all lines of a file; none if it is missing or cannot be read."""
        if not self.has(name):
            return
        try:
            with files.opened(self.folder / name) as file:
                yield from file
        except MissingFile:
            return
        except UserError as error:
            self.faults.append(str(error))

    def _entry(self, name: str) -> Entry | None:
        part, _, last = name.rpartition("/")
        return self.entries(part).get(last)


def _last_bytes(path: epath.Path, size: int) -> bytes:
    """Return the last bytes of a file that had `size` bytes."""
    start = max(0, size - _TAIL)
    if is_remote(path):
        if size == 0:
            return b""
        return objects.read_ranges(path, [(start, size)])[0]
    with files.opened(path) as file:
        file.seek(start)
        return file.read(_TAIL)
