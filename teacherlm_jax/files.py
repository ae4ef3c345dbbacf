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


def write_text(path: Path | str, text: str) -> None:
    """Replaces `path` by `text` in one step: readers see the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return MalformedRow("not UTF-8", line.decode("utf-8", "replace").rstrip("\n"))
    except json.JSONDecodeError as error:
        return MalformedRow(f"not JSON: {error.msg}", line.decode().rstrip("\n"))
    if not isinstance(row, dict):
        return MalformedRow("not a JSON object", line.decode().rstrip("\n"))
    return row


def expand(root: Path | str, pattern: str) -> list[Path]:
    """Files that `pattern` (a path or a glob, taken under `root`) names, sorted by name.

    Raises UserError when there is none.
    """
    full = os.path.join(os.path.expanduser(str(root)), os.path.expanduser(pattern))
    found = sorted(Path(name) for name in glob.glob(full) if os.path.isfile(name))
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

    The file is made with the first refused row, so that its absence means that none was.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.counts: Counter[str] = Counter()  # by reason
        self._file: TextIO | None = None

    @property
    def total(self) -> int:
        """Rows refused so far."""
        return self.counts.total()

    def add(self, file: Path | str, line: int, reason: str, row: Any) -> None:
        """Counts one row and appends it to the side file."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8")
        self.counts[reason] += 1
        entry = {"file": str(file), "line": line, "reason": reason, "row": row}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the side file; adding after this is an error of the caller."""
        if self._file is not None:
            self._file.close()
