"""Files that grow, such as JSON lines: a row is on disk when `add` returns."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from teacherlm_jax.storage.disk_errors import naming


def open_growing(path: Path, *, replace: bool = False) -> io.FileIO:
    """Open a file of bytes for appending, or in place of its earlier content.

    The file is unbuffered, so closing it does not repeat a write that failed.
    """
    return path.open("wb" if replace else "ab", buffering=0)


class GrowingRows:
    """A jsonl file open for appending; write errors name the file."""

    def __init__(
        self, path: Path, *, replace: bool = False, default: Callable[[Any], Any] | None = None
    ):
        """Open the file and create its folder.

        Args:
            path: the file.
            replace: discard its earlier content.
            default: conversion of values that are not JSON, as in `json.dumps`.
        """
        self._path, self._default = path, default
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_growing(path, replace=replace)

    def add(self, row: Any) -> None:
        """Append one row."""
        line = json.dumps(row, ensure_ascii=False, default=self._default) + "\n"
        left = memoryview(line.encode("utf-8", "backslashreplace"))  # half a surrogate is escaped
        with naming(self._path):
            while left:
                left = left[self._file.write(left) :]

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._file.close()


def append_row(path: Path, row: Any) -> None:
    """Append one row to a jsonl file that is not kept open."""
    rows = GrowingRows(path)
    try:
        rows.add(row)
    finally:
        rows.close()
