"""The raw rows of a source, and the reader of each type of file.

Rows are read as a stream, so no file is held in memory as a whole. Files may be in a bucket, such
as `gs://bucket/folder`. `tasks.tfds_rows` reads the types that need TensorFlow; nothing
else imports it.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import arrow, columns, mmlu_files, source_files, text_files
from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.storage import files, locations


class RowLocation(NamedTuple):
    """Location of a row: its file, and its line or its number in the file, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


LocatedRow = tuple[RowLocation, RawRow | files.MalformedRow]


@dataclasses.dataclass(frozen=True)
class SourceRows:
    """The files of a source, and a function that reads their rows.

    Attributes:
        files: the files with rows, in the order in which they are read.
        read: a function that yields all rows; each call begins at the first one.
        beside: other files that determine the samples: a list of the shards, and further
            explanations.
        digests: `sha256:…` by path, for text files that `read` has read to their end.
    """

    files: tuple[epath.Path, ...]
    read: Callable[[], Iterator[LocatedRow]]
    beside: tuple[epath.Path, ...] = ()
    digests: dict[str, str] = dataclasses.field(default_factory=dict)

    def file_digests(self) -> list[str]:
        """Return the `sha256:…` of each file in reading order, and then of those beside them."""
        return [files.file_digest(path) for path in (*self.files, *self.beside)]


def digest_of_list(digests: Sequence[str]) -> str:
    """Return the `sha256:…` of a list of digests; that of a single file is its own."""
    if len(digests) == 1:
        return digests[0]
    return f"sha256:{hashlib.sha256(json.dumps(list(digests)).encode()).hexdigest()}"


Reader = Callable[[SourceConfig, Sequence[epath.Path]], SourceRows]


def refuse_split(config: SourceConfig, path: epath.Path) -> None:
    """Raise UserError if a config names a split of files that have no splits."""
    if config.split != "train":
        raise UserError(
            f"source {config.name!r}: split={config.split!r}, but {path} has no splits; name the "
            "files of the split in the path and remove the key split"
        )


def in_files(
    paths: Sequence[epath.Path],
    read: Callable[[epath.Path], Iterable[tuple[int, RawRow | files.MalformedRow]]],
) -> Callable[[], Iterator[LocatedRow]]:
    """Return a function that yields the rows of all files, given one that reads a file."""

    def rows() -> Iterator[LocatedRow]:
        for path in paths:
            for line, row in read(path):
                yield RowLocation(str(path), line), row

    return rows


def _jsonl(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    refuse_split(config, paths[0])
    digests: dict[str, str] = {}
    read = in_files(paths, lambda path: text_files.json_lines(path, digests))
    return SourceRows(tuple(paths), read, digests=digests)


def _separated(delimiter: str, config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    refuse_split(config, paths[0])
    digests: dict[str, str] = {}

    def read(path: epath.Path) -> Iterable[tuple[int, RawRow | files.MalformedRow]]:
        if config.format == "mmlu" and not config.header and mmlu_files.is_one(path):
            rows = text_files.separated_rows(path, digests, delimiter, mmlu_files.HEADER)
            return mmlu_files.with_subject(path, rows)
        return text_files.separated_rows(path, digests, delimiter, config.header)

    return SourceRows(tuple(paths), in_files(paths, read), digests=digests)


def _parquet(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    refuse_split(config, paths[0])
    read = _columnar(config, paths, arrow.parquet_columns, arrow.parquet_rows)
    return SourceRows(tuple(paths), read)


def _datasets(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    beside: tuple[epath.Path, ...] = ()
    if paths[0].is_dir():
        paths, state = arrow.saved_files(paths[0], config.split)
        beside = (state,)
    else:
        refuse_split(config, paths[0])
    read = _columnar(config, paths, arrow.arrow_columns, arrow.arrow_rows)
    return SourceRows(tuple(paths), read, beside)


def _columnar(
    config: SourceConfig,
    paths: Sequence[epath.Path],
    columns_of: Callable[[epath.Path], Sequence[str]],
    rows_of: Callable[[epath.Path, Sequence[str]], Iterable[arrow.NumberedRow]],
) -> Callable[[], Iterator[LocatedRow]]:
    """Return a function that yields the rows of columnar files, reading only the columns in use.

    It raises UserError before the first row if a column of the config is in none of the files.
    """
    used = columns.used_columns(config)

    def read() -> Iterator[LocatedRow]:
        _require_columns(paths, used, columns_of)
        yield from in_files(paths, lambda path: rows_of(path, used))()

    return read


def _require_columns(
    paths: Sequence[epath.Path],
    used: Sequence[str],
    columns_of: Callable[[epath.Path], Sequence[str]],
) -> None:
    """Raise UserError for a used column that none of the files has."""
    missing, known = list(used), dict[str, None]()
    for path in paths:
        if not missing:
            return
        available = columns_of(path)
        known |= dict.fromkeys(available)
        missing = [name for name in missing if columns.column_of(name, available) not in available]
    if missing and paths:
        count = len(paths) - 1
        others = f" and {count} other file{'s' if count > 1 else ''}" if count else ""
        raise UserError(
            f"{paths[0]}{others}: no column {columns.column_of(missing[0], known)!r}; the columns "
            f"are {', '.join(known)}"
        )


def _with_tensorflow(name: str, config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    """Return the rows that a reader of `tasks.tfds_rows` reads."""
    try:
        module = importlib.import_module("teacherlm_jax.tasks.tfds_rows")
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise UserError(
            f"source {config.name!r}: reading {paths[0]} requires the package {missing}, which is "
            "not installed; install it, or convert the rows to jsonl or parquet"
        ) from None
    rows: SourceRows = getattr(module, name)(config, paths)
    return rows


READERS: Mapping[str, Reader] = {
    "jsonl": _jsonl,
    "csv": functools.partial(_separated, ","),
    "tsv": functools.partial(_separated, "\t"),
    "parquet": _parquet,
    "datasets": _datasets,
    "tfds": functools.partial(_with_tensorflow, "tfds_rows"),
    "tfrecord": functools.partial(_with_tensorflow, "tfrecord_rows"),
}


def open_rows(config: SourceConfig, root: str) -> SourceRows:
    """Find the files of a source, and choose their reader.

    Raises UserError if there are no files, if neither their names nor their contents show how to
    read them, and if they need a package that is not installed.
    """
    with locations.refusing(locations.under(root, config.path)):
        paths = source_files.find(config, root)
        reader = source_files.reader_of(config, paths)
        if config.header and reader not in ("csv", "tsv"):
            raise UserError(
                f"source {config.name!r}: header={config.header}, but {paths[0]} is read by the "
                f"reader {reader!r} and not as csv or tsv; leave header empty"
            )
        rows = READERS[reader](config, paths)
        beside = (*rows.beside, *source_files.explanation_files(config, root))
        return dataclasses.replace(rows, beside=beside)
