"""Large files: parts of them by position, and new ones that are written block by block.

The same functions serve a file on this machine and an object in a bucket. There, each part is one
request, so a caller asks for large parts, or for many small ones at once.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from etils import epath

from teacherlm_jax.storage import objects
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.storage.locations import is_remote, refusing
from teacherlm_jax.storage.paths import StoragePath

_VERSIONS = ("generation", "ETag", "etag", "mtime")  # in the order of preference


def size(path: epath.PathLike) -> int:
    """Return the bytes of a file."""
    if is_remote(path):
        return objects.info(path)["size"]
    with refusing(StoragePath(path)):
        return Path(path).stat().st_size


def version(path: epath.PathLike) -> str:
    """Return the size and the time or generation of a file, which change when it is replaced."""
    if is_remote(path):
        info = objects.info(path)
        key = next(key for key in _VERSIONS if key in info)
        return f"{info['size']} bytes, {key} {info[key]}"
    status = Path(path).stat()
    return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"


def read(path: epath.PathLike, start: int, stop: int) -> bytes:
    """Return the bytes from `start` to `stop`, or to the end of the file if it ends before.

    Raises UserError that names the file if it cannot be read.
    """
    return read_many(path, [(start, stop)])[0]


def read_many(path: epath.PathLike, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return several parts of one file; see `read`."""
    if is_remote(path):
        return objects.read_ranges(path, ranges)
    with refusing(StoragePath(path)), Path(path).open("rb") as file:
        return list(_parts(file, ranges))


def _parts(file: BinaryIO, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    for start, stop in ranges:
        file.seek(start)
        yield file.read(stop - start)


class NewFile(Protocol):
    """A file that is written from beginning to end."""

    def write(self, block: bytes | memoryview) -> None:
        """Append a block."""

    def close(self) -> None:
        """Complete the file."""

    def discard(self) -> None:
        """Close the file although it is incomplete; an object in a bucket does not appear."""


def new_file(path: epath.PathLike) -> NewFile:
    """Open a new file; its errors name it.

    An object in a bucket appears, or is replaced, when it is closed. A file on this machine is
    synced to the disk when it is closed; until then others see an incomplete file.
    """
    return objects.NewObject(path) if is_remote(path) else _NewLocalFile(Path(path))


class _NewLocalFile:
    def __init__(self, path: Path):
        self._path = path
        with naming(path):
            self._file = path.open("wb")

    def write(self, block: bytes | memoryview) -> None:
        with naming(self._path):
            self._file.write(block)

    def close(self) -> None:
        with naming(self._path), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    def discard(self) -> None:
        with naming(self._path):
            self._file.close()
