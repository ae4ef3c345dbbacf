"""Text files of rows, plain or compressed: JSON lines, csv and tsv.

The file name shows the compression: `.gz`, `.zst`, `.xz` or `.bz2`. Files are read as streams. A
line or row that cannot be read becomes a MalformedRow, and reading continues.
"""

import bz2
import csv
import functools
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
from etils import epath

from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.storage import files

COMPRESSED = r"(\.gz|\.zst|\.xz|\.bz2)?"  # pattern of the endings
SHARD = r"(-\d+-of-\d+)?"  # number of a shard after the ending, as TensorFlow writes it

_JSON = re.compile(rf"\.json{SHARD}{COMPRESSED}$")  # names of files that may be one JSON list
_BLOCK = 1 << 18  # bytes read at a time
_LONGEST_FIELD = 1 << 24  # characters; a longer csv field is treated as a quote without an end

NumberedRow = tuple[int, dict[str, Any] | files.MalformedRow]


def json_lines(path: epath.Path, digests: dict[str, str]) -> Iterator[NumberedRow]:
    """Yield (line number from 1, row) for every line of a file that is not blank.

    Args:
        path: the file.
        digests: receives the file's digest under its path when the last row has been read.

    Raises UserError for a damaged file and for one that is a JSON list as a whole.
    """

    def parse(stream: BinaryIO) -> Iterator[NumberedRow]:
        for line, row in files.parse_lines(stream):
            if line == 1 and isinstance(row, files.MalformedRow):
                _refuse_list(path, row)
            yield line, row

    return _parsed(path, digests, parse)


def separated_rows(
    path: epath.Path, digests: dict[str, str], delimiter: str, header: Sequence[str] = ()
) -> Iterator[NumberedRow]:
    """Yield (number of its first line, row) for every row of a csv or tsv file.

    Fields may be enclosed in double quotes and may then contain delimiters, line breaks and
    doubled quotes (RFC 4180). Every value is text.

    Args:
        path: the file.
        digests: see `json_lines`.
        delimiter: character between fields.
        header: names of the columns; empty: the first row has them.

    Raises UserError for a damaged file, a header that cannot be used and a quote that is never
    closed.
    """
    parse = functools.partial(_separated, path=path, delimiter=delimiter, header=header)
    return _parsed(path, digests, parse)


def _parsed(
    path: epath.Path,
    digests: dict[str, str],
    parse: Callable[[BinaryIO], Iterator[NumberedRow]],
) -> Iterator[NumberedRow]:
    line = 0
    with files.opened(path) as opened:
        hashed = files.HashedFile(opened)
        try:
            for line, row in parse(_decompressed(path, io.BufferedReader(hashed, _BLOCK))):
                yield line, row
            digests[str(path)] = hashed.digest()
        except FileNotFoundError:  # it was removed from its store
            raise
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            problem = one_line(error)
            if path.suffix == ".zst" and "too much memory" in problem:
                raise UserError(
                    f"{path}: compressed with a longer window than this reader accepts (zstd "
                    "--long); decompress it, as with `zstd -d --long=31`, or compress it again "
                    "without --long"
                ) from error
            raise UserError(
                f"{path}: damaged or truncated after line {line}: {problem}; copy it again"
            ) from error


def _decompressed(path: epath.Path, file: io.BufferedReader) -> BinaryIO:
    if path.suffix not in (".gz", ".zst", ".xz", ".bz2"):
        return cast(BinaryIO, file)
    if not file.read(1):  # decompressors accept it as no rows, but a compressed file has a header
        raise EOFError("the file is empty")
    file.seek(0)
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if path.suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(file, "zstd")))
    return cast(BinaryIO, lzma.LZMAFile(file) if path.suffix == ".xz" else bz2.BZ2File(file))


def _refuse_list(path: epath.Path, first: files.MalformedRow) -> None:
    """Raise UserError for a file that is JSON as a whole, a list of all its rows."""
    if _JSON.search(path.name) and first.text.lstrip().startswith("["):
        raise UserError(
            f"{path}: a JSON list; expected one object per line, as `jq -c '.[]'` writes them"
        )


class _Lines:
    """Lines of a text stream; `taken` holds those that were read since it was last cleared."""

    def __init__(self, stream: BinaryIO):
        # Bytes that are not UTF-8 are kept as surrogates, so that only their row is refused.
        self._text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.taken.append(next(self._text))
        return self.taken[-1]


def _separated(
    stream: BinaryIO, path: epath.Path, delimiter: str, header: Sequence[str]
) -> Iterator[NumberedRow]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    names = list(header)
    while True:
        line = reader.line_num + 1
        lines.taken.clear()
        fields: list[str] | files.MalformedRow | None
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if "end of data" in str(error) or "field limit" in str(error):
                raise UserError(
                    f"{path}:{line}: a quote in this row is never closed; enclose fields that "
                    "contain quotes in double quotes and double the quotes inside, or convert the "
                    "file to jsonl"
                ) from None
            fields = _malformed(f"not a row of fields: {error}", lines.taken)
        if fields is None:
            return
        if not names:
            names = _names(path, fields)
        elif fields:  # a blank line has none
            yield line, _row(fields, names, lines.taken)


def _names(path: epath.Path, header: list[str] | files.MalformedRow) -> list[str]:
    """Return the names of the columns; raise UserError for a header that cannot be used."""
    if isinstance(header, files.MalformedRow):
        raise UserError(f"{path}: its header is {header.reason}; correct the first line")
    if not _is_utf8("".join(header)):
        raise UserError(f"{path}: its header is not UTF-8; save the file as UTF-8")
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path}: two columns are named {name!r}; rename one of them")
    return header


def _row(
    fields: list[str] | files.MalformedRow, names: Sequence[str], taken: Iterable[str]
) -> dict[str, Any] | files.MalformedRow:
    if isinstance(fields, files.MalformedRow):
        return fields
    if len(fields) != len(names):
        return _malformed(f"{len(fields)} fields, but there are {len(names)} columns", taken)
    if not _is_utf8("".join(fields)):
        return _malformed("not UTF-8", taken)
    return dict(zip(names, fields, strict=True))


def _malformed(reason: str, lines: Iterable[str]) -> files.MalformedRow:
    text = "".join(lines).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return files.MalformedRow(reason, text.rstrip("\r\n"))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
