"""Small files, read and written so that a crash or a bad row never costs what was there."""

import dataclasses
import glob
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from teacherlm_jax.errors import UserError

_DIGEST_BLOCK = 1 << 20  # bytes read at a time


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


def read_json(path: Path | str) -> Any:
    """Reads one JSON file; raises UserError naming the file (and line) when it cannot."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None


def read_jsonl(path: Path | str) -> Iterator[tuple[int, dict[str, Any] | MalformedRow]]:
    """Yields (line number from 1, row) for every line that is not blank.

    A line that is no UTF-8, no JSON or no object comes out as a MalformedRow: the caller counts it.
    Raises UserError when the file itself cannot be opened.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        for number, line in enumerate(file, start=1):
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


def expand(root: Path | str, pattern: str) -> list[Path]:
    """Files that `pattern` (a path or a glob, taken under `root`) names, sorted by name.

    Raises UserError when there is none.
    """
    below, pattern = os.path.expanduser(str(root)), os.path.expanduser(pattern)
    full = os.path.join(below, pattern)
    if os.path.isfile(full):  # a file whose name has brackets or stars is no pattern
        return [Path(full)]
    matches = glob.glob(os.path.join(glob.escape(below), pattern))
    found = sorted(Path(name) for name in matches if os.path.isfile(name))
    if not found:
        raise UserError(f"{full}: no file matches; give a path or a glob that names existing files")
    return found


def file_digest(path: Path | str) -> str:
    """`sha256:` and the hexadecimal digest of the file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_DIGEST_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


class RefusedRows:
    """The side file of rows that could not be used: one JSON line each with file, line and reason.

    The file is made with the first refused row, and one of an earlier reading is removed, so that
    its absence means that none was. Without a path rows are counted only.
    """

    def __init__(self, path: Path | str | None):
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.counts: Counter[str] = Counter()  # by reason
        self._file: TextIO | None = None

    @property
    def total(self) -> int:
        """Rows refused so far."""
        return self.counts.total()

    def add(self, file: Path | str, line: int, reason: str, row: Any) -> None:
        """Counts one row and appends it to the side file."""
        self.counts[reason] += 1
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        entry = {"file": str(file), "line": line, "reason": reason, "row": row}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the side file; adding after this is an error of the caller."""
        if self._file is not None:
            self._file.close()
