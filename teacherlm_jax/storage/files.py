"""Files, read and written so that a crash or a bad row never costs what was there.

What is written lies on this machine. What is read may also lie in a store that `etils.epath` knows,
such as `gs://bucket/folder`.
"""

import codecs
import contextlib
import dataclasses
import glob
import hashlib
import io
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from etils import epath

from teacherlm_jax.errors import UserError, one_line

_DIGEST_BLOCK = 1 << 20  # bytes read at a time
_STORES = ("gs://", "s3://", "az://", "hf://")  # those of etils.epath
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://")  # of a store, known or not


@dataclasses.dataclass(frozen=True)
class MalformedRow:
    """A line of a jsonl file that is no JSON object: the reason, and the text as it stood."""

    reason: str
    text: str


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replaces `path` by `content` in one step: readers see the old file or the new one.

    An OSError, such as that of a full disk, carries the name of the file that was wanted.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path | str, rows: Iterable[Any]) -> None:
    """Writes one JSON value a line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: epath.PathLike) -> Any:
    """Reads one JSON file; raises UserError naming the file (and line) when it cannot."""
    try:
        with opened(path) as file:
            return json.loads(file.read().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number too long, an object too deep
        raise UserError(f"{path}: not JSON that can be read: {error}") from None


def read_jsonl(path: epath.PathLike) -> Iterator[tuple[int, dict[str, Any] | MalformedRow]]:
    """Yields (line number from 1, row) for every line that is not blank.

    A line that is no UTF-8, no JSON or no object comes out as a MalformedRow: the caller counts it.
    Raises UserError when the file itself cannot be opened.
    """
    with opened(path) as file:
        yield from parse_lines(file)


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | MalformedRow]]:
    """The rows of a jsonl file's lines; see `read_jsonl`."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, _parse_line(line)


@contextlib.contextmanager
def opened(path: epath.PathLike) -> Iterator[BinaryIO]:
    """A file for reading bytes.

    Raises UserError that names the file when it cannot be opened and, in a store, when it cannot be
    read on.
    """
    path = epath.Path(path)
    with contextlib.ExitStack() as stack:
        with blamed_on(path):
            file: Any = stack.enter_context(path.open("rb"))
        if not is_remote(path):
            yield file
            return
        with blamed_on(path):
            yield cast(BinaryIO, io.BufferedReader(_Bytes(file)))


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path names something in a store and not on this machine."""
    return os.fspath(path).startswith(_STORES)


class HashedFile(io.RawIOBase):
    """A file whose digest is known after one pass over it.

    Wrap it in `io.BufferedReader`. Reading has to be sequential; only a seek to the start, before
    anything else is read, is allowed.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; see `seek`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` and return the number of bytes."""
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._hash.update(block)
        return len(block)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Return to the start of the file, which begins the digest anew."""
        if (offset, whence) != (0, os.SEEK_SET):
            raise io.UnsupportedOperation("a hashed file can be rewound only to its start")
        self._hash = hashlib.sha256()
        return self._file.seek(0)

    def tell(self) -> int:
        """Return the position in the file, in bytes."""
        return self._file.tell()

    def digest(self) -> str:
        """Read what is left, and return `sha256:` with the digest as `file_digest` does."""
        while block := self._file.read(_DIGEST_BLOCK):
            self._hash.update(block)
        return f"sha256:{self._hash.hexdigest()}"


@contextlib.contextmanager
def blamed_on(path: epath.Path) -> Iterator[None]:
    """Turns the errors of a file, or of its store, into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {one_line(error.strerror or error)}") from error
    except Exception as error:
        if not is_remote(path):
            raise
        # Every client of a store has errors of its own: for rights, for names, for the network.
        kind, said = type(error).__name__, one_line(error)
        if kind in ("UnimplementedError", "ImportError"):  # of TensorFlow, of fsspec
            store = str(path).partition("://")[0]
            raise UserError(
                f"{path}: nothing that is installed here reads {store}:// ({said}); copy the files "
                "to this machine"
            ) from error
        raise UserError(f"{path}: cannot be read: {kind}: {said}") from error


class _Bytes(io.RawIOBase):
    """A file of a store, whose own class may lack all but `read`, `seek` and `tell`."""

    def __init__(self, file: Any):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()


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


def under(root: epath.PathLike, path: str) -> epath.Path:
    """`path`, taken under `root` unless it is whole by itself; `~` is the user's home.

    Raises UserError for an address, as of a site, that is none of a store that is known.
    """
    path = os.path.expanduser(path)
    below = os.path.expanduser(os.fspath(root))
    whole = path if _ADDRESS.match(path) else os.path.join(below, path)
    if _ADDRESS.match(whole) and not is_remote(whole):
        raise UserError(
            f"{whole}: an address of no store that is known; give a path of this machine, or one "
            f"that begins with {', '.join(_STORES)}"
        )
    return epath.Path(whole)


def expand(root: epath.PathLike, pattern: str) -> list[epath.Path]:
    """Files that `pattern` (a path or a glob, taken under `root`) names, sorted by name.

    Raises UserError when there is none.
    """
    full = under(root, pattern)
    with blamed_on(full):
        if full.exists() and not full.is_dir():  # a name with brackets or stars is no pattern
            return [full]
        found = sorted(path for path in _matches(root, pattern) if not path.is_dir())
    if not found:
        raise UserError(f"{full}: no file matches; give a path or a glob that names existing files")
    return found


def _matches(root: epath.PathLike, pattern: str) -> Iterable[epath.Path]:
    full = under(root, pattern)
    if "**" in pattern:
        raise UserError(f"{full}: ** is not understood; write a * for each level of folders")
    if not is_remote(full):
        below = glob.escape(os.path.expanduser(os.fspath(root)))
        found = glob.glob(os.path.join(below, os.path.expanduser(pattern)))
        return map(epath.Path, found)
    store, bucket, *folders = full.parts[1:]  # ("/", "gs", "bucket", …)
    return epath.Path(f"{store}://{bucket}").glob("/".join(folders))


def file_digest(path: epath.PathLike) -> str:
    """`sha256:` and the hexadecimal digest of the file's bytes."""
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(_DIGEST_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


class RefusedRows:
    """The side file of rows that could not be used: one JSON line each with file, line and reason.

    The file is made with the first refused row, and one of an earlier reading is removed, so that
    its absence means that none was. Without a path rows are counted only.

    Attributes:
        counts: rows by reason.
        by_file: the same for each file that had some.
    """

    def __init__(self, path: Path | str | None):
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.counts: Counter[str] = Counter()
        self.by_file: dict[str, Counter[str]] = {}
        self._file: TextIO | None = None

    @property
    def total(self) -> int:
        """Rows refused so far."""
        return self.counts.total()

    def add(self, file: epath.PathLike, line: int, reason: str, row: Any) -> None:
        """Counts one row and appends it to the side file, as text where it is no JSON."""
        self.counts[reason] += 1
        self.by_file.setdefault(str(file), Counter())[reason] += 1
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        entry = {"file": str(file), "line": line, "reason": reason, "row": row}
        self._file.write(json.dumps(entry, ensure_ascii=False, default=repr) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the side file; adding after this is an error of the caller."""
        if self._file is not None:
            self._file.close()
