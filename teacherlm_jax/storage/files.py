"""Whole files, read with errors that name them and replaced atomically.

Files are written on this machine. They are read from this machine or from a store that
`etils.epath` knows, such as `gs://bucket/folder`.
"""

import codecs
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from etils import epath

from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.complete_file import complete_beside
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.storage.locations import is_remote, refusing
from teacherlm_jax.storage.paths import StoragePath

# Ends the name of a file or folder that is not complete. In a bucket, an object with this name
# marks its folder as not complete.
PARTIAL = ".partial"
_DIGEST_BLOCK = 1 << 20  # bytes read at a time


@dataclasses.dataclass(frozen=True)
class MalformedRow:
    """A line of a jsonl file that is not a JSON object: the reason, and the line's text."""

    reason: str
    text: str


def is_folder(path: epath.PathLike) -> bool:
    """Return whether a path is a folder.

    Raises UserError if the disk refuses to say, as for a missing permission, and StoreError if a
    store does.
    """
    if is_remote(path):
        return objects.is_folder(path)
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def names(folder: epath.PathLike) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; empty if there is none."""
    if is_remote(folder):
        return sorted({name.partition("/")[0] for name in objects.listing(folder)})
    if not is_folder(folder):
        return []
    with refusing(StoragePath(folder)):
        return sorted(os.listdir(folder))


def exists(path: epath.PathLike) -> bool:
    """Return whether there is a file or folder; raise an error as `is_folder` does."""
    if not is_remote(path):
        return _mode(path) is not None
    path = StoragePath(path)
    with refusing(path):
        return path.exists()


def _mode(path: epath.PathLike) -> int | None:
    """Return the mode of a file or folder on this machine; None if it does not exist."""
    with refusing(StoragePath(path)), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.stat(path).st_mode
    return None


def remove(path: epath.PathLike) -> None:
    """Remove a file; nothing happens if there is none."""
    if is_remote(path):
        objects.remove(path)
    else:
        Path(path).unlink(missing_ok=True)


def size(path: epath.PathLike) -> int:
    """Return the bytes of a file."""
    path = StoragePath(path)
    with refusing(path):
        return path.stat().length


def write_bytes(path: epath.PathLike, content: bytes) -> None:
    """Replace `path` by `content` atomically: readers see the old file or the new one.

    An OSError, such as that of a full disk, carries the name of the file. Raises StoreError that
    names the file if a store refuses it.
    """
    if is_remote(path):
        objects.put(path, content)
        return
    path = Path(path)
    with complete_beside(path, content) as temporary:
        os.replace(temporary, path)


def publish(unfinished: epath.PathLike, path: epath.PathLike) -> None:
    """Give a file on this machine, or a folder whose files are on the disk, its final name.

    Its content is on the disk before, so no power failure leaves half of it under this name.
    """
    with naming(os.fspath(path)):
        handle = os.open(unfinished, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(unfinished, path)


def write_text(path: epath.PathLike, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: epath.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: epath.PathLike, rows: Iterable[Any]) -> None:
    """Write one JSON value per line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def update_jsonl(path: epath.PathLike, rows: Iterable[Any]) -> None:
    """Write one JSON value per line, atomically; leave a file that has exactly these lines."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = StoragePath(path)
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def read_bytes(path: epath.PathLike) -> bytes:
    """Return the content of a file; raise an error that names it if it cannot be read.

    From a store this takes one request.
    """
    if not is_remote(path):
        with opened(path) as file:
            return file.read()
    content = objects.read(path)
    if content is None:
        raise MissingFile(f"{path}: no such file; restore it or correct the path")
    return content


def read_json(path: epath.PathLike) -> Any:
    """Read one JSON file; raise UserError that names the file and line if it is malformed."""
    try:
        return json.loads(read_bytes(path).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}; copy it here again") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not JSON: {error.msg}; correct it or copy it again"
        ) from None
    except (ValueError, RecursionError) as error:  # a number too long, an object too deep
        raise UserError(
            f"{path}: not JSON that can be read: {error}; correct it or copy it again"
        ) from None


def read_json_if_any(path: epath.PathLike) -> Any:
    """Read one JSON file as `read_json` does; return None if it does not exist, or not any more."""
    try:
        return read_json(path)
    except MissingFile:
        return None


def read_jsonl(path: epath.PathLike) -> Iterator[tuple[int, dict[str, Any] | MalformedRow]]:
    """Yield (line number from 1, row) for every line that is not blank.

    A line that is not UTF-8, not JSON or not an object becomes a MalformedRow, which the caller
    counts. Raises UserError if the file itself cannot be opened.
    """
    with opened(path) as file:
        yield from parse_lines(file)


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | MalformedRow]]:
    """Yield the rows of a jsonl file's lines; see `read_jsonl`."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, _parse_line(line)


def _parse_line(line: bytes) -> dict[str, Any] | MalformedRow:
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return MalformedRow("not UTF-8", text)
    except json.JSONDecodeError as error:
        return MalformedRow(f"not JSON: {error.msg}", text)
    except (ValueError, RecursionError) as error:  # a number too long, an object too deep
        return MalformedRow(f"not JSON that can be read: {error}", text)
    if not isinstance(row, dict):
        return MalformedRow("not a JSON object", text)
    return row


@contextlib.contextmanager
def opened(path: epath.PathLike) -> Iterator[BinaryIO]:
    """Open a file for reading bytes.

    Raises UserError that names the file if it cannot be opened, and StoreError if a store refuses.
    """
    path = StoragePath(path)
    with contextlib.ExitStack() as stack:
        with refusing(path):
            file: Any = stack.enter_context(path.open("rb"))
        if not is_remote(path):
            yield file
            return
        with refusing(path):
            yield cast(BinaryIO, io.BufferedReader(_Bytes(file)))


class _Bytes(io.RawIOBase):
    """A file of a store, whose own class may lack everything but `read`, `seek` and `tell`."""

    def __init__(self, file: Any):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()


class HashedFile(_Bytes):
    """A file whose digest is known after one pass over it.

    Wrap it in `io.BufferedReader`. Reading has to be sequential; only a seek to the start, before
    anything else is read, is allowed.
    """

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self._hash = hashlib.sha256()

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` and return the number of bytes."""
        count = super().readinto(buffer)
        self._hash.update(buffer[:count])
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Return to the start of the file, which begins the digest anew."""
        if (offset, whence) != (0, os.SEEK_SET):
            raise io.UnsupportedOperation("a hashed file can be rewound only to its start")
        self._hash = hashlib.sha256()
        return super().seek(0)

    def digest(self) -> str:
        """Read what is left, and return `sha256:` with the digest as `file_digest` does."""
        while block := self._file.read(_DIGEST_BLOCK):
            self._hash.update(block)
        return f"sha256:{self._hash.hexdigest()}"


def file_digest(path: epath.PathLike) -> str:
    """Return `sha256:` and the hexadecimal digest of the file's bytes."""
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(_DIGEST_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"
