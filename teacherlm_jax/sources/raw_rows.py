"""The raw rows of a source: the files that its path names, and the reader of each type of file.

Rows are read as a stream, so no file is held in memory as a whole. Files may be in a bucket, such
as `gs://bucket/folder`. `tasks.tfds_rows` reads the types that need TensorFlow.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import arrow, columns, mmlu_files, text_files
from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.sources.text_files import COMPRESSED, SHARD
from teacherlm_jax.storage import files, locations

# The reader of a file by its name.
_FILES = {
    "jsonl": re.compile(rf"\.(jsonl|json|ndjson){SHARD}{COMPRESSED}$"),
    "csv": re.compile(rf"\.csv{SHARD}{COMPRESSED}$"),
    "tsv": re.compile(rf"\.tsv{SHARD}{COMPRESSED}$"),
    "parquet": re.compile(rf"\.parquet{SHARD}$"),
    "datasets": re.compile(r"\.arrow$"),
    "tfrecord": re.compile(rf"\.tfrecords?{SHARD}(\.gz)?$"),
}
_ENDINGS = ".jsonl, .csv, .tsv, .parquet or .arrow"  # of files that every verb reads
# The reader of a folder by a file that it contains.
_FOLDERS = {arrow.DATASET: "datasets", arrow.SPLITS: "datasets", "features.json": "tfds"}

_SHOWN = 4  # file names in a message


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


Reader = Callable[[SourceConfig, Sequence[epath.Path]], SourceRows]


def find(config: SourceConfig, root: str) -> list[epath.Path]:
    """Return the files that a source's path names, or the folder of a saved dataset.

    For any other folder, returns the files in it. Raises UserError if there are no files, and if a
    folder contains anything but the shards of one dataset.
    """
    path = locations.under(root, config.path)
    if not path.is_dir():
        return locations.expand(root, config.path)
    described = any((path / name).exists() for name in _FOLDERS)
    return [path] if described or config.reader == "tfds" else _shards(config, path)


def _shards(config: SourceConfig, folder: epath.Path) -> list[epath.Path]:
    """Return all files of a folder if their names differ only in numbers and have one reader.

    Files with other names may be another split, which must not be trained on by accident.
    """
    paths = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(re.sub(r"\d+", "*", path.name), []).append(path.name)
    if len(kinds) == 1 and (config.reader or _reader_of_file(paths[0])):
        return paths
    if config.format == "mmlu" and mmlu_files.are_one_split(paths):
        return paths
    shown = [names[0] if len(names) == 1 else kind for kind, names in kinds.items()]
    known = [name for name in shown if config.reader or _reader_of_file(folder / name)]
    below = described_below(folder)
    shown = below or shown
    content = ", ".join(shown[:_SHOWN]) + (" and others" if len(shown) > _SHOWN else "")
    suggested = paths_in(config, (below or known)[:_SHOWN]) or "files with rows"
    raise UserError(
        f"source {config.name!r}: the folder {folder} contains {content or 'nothing'}, expected "
        f"{', '.join(_FOLDERS)}, or only shards of one dataset; set the path to {suggested}"
    )


def paths_in(config: SourceConfig, names: Iterable[str]) -> str:
    """Return paths below the source's current path, as suggestions in a message."""
    return " or ".join(os.path.join(config.path, name) for name in names)


def described_below(folder: epath.Path) -> list[str]:
    """Return the names of saved datasets in a folder, such as the versions of a TFDS dataset."""
    return [
        path.name
        for path in sorted(folder.iterdir())
        if path.is_dir() and any((path / name).exists() for name in _FOLDERS)
    ]


def reader_of(config: SourceConfig, paths: Sequence[epath.Path]) -> str:
    """Return the reader that a source sets or, by default, the one that fits its files.

    Raises UserError if no reader or more than one fits.
    """
    if config.reader:
        return config.reader
    readers = sorted({_reader_of_path(config.name, path) for path in paths})
    if len(readers) > 1:
        raise UserError(
            f"source {config.name!r}: the files beside {paths[0]} are of several types "
            f"({', '.join(readers)}); set the path to files of one type"
        )
    return readers[0]


def _reader_of_path(source: str, path: epath.Path) -> str:
    if path.is_dir():
        return next(reader for name, reader in _FOLDERS.items() if (path / name).exists())
    if reader := _reader_of_file(path):
        return reader
    raise UserError(
        f"source {source!r}: the name of {path} does not show its type; rename the file so that "
        f"it ends in {_ENDINGS}"
    )


def _reader_of_file(path: epath.Path) -> str:
    """Return the reader that fits a file's name; empty if none does."""
    return next((name for name, ending in _FILES.items() if ending.search(path.name)), "")


def names_apart(paths: Sequence[epath.Path]) -> dict[epath.Path, str]:
    """Return the paths of files relative to the deepest folder that contains all of them."""
    folders = [path.parent.parts for path in paths]
    shared = 0
    while len({parts[: shared + 1] for parts in folders}) == 1 and shared < len(folders[0]):
        shared += 1
    return {path: "/".join(path.parts[shared:]) for path in paths}


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


READERS: Mapping[str, Reader] = {
    "jsonl": _jsonl,
    "csv": functools.partial(_separated, ","),
    "tsv": functools.partial(_separated, "\t"),
    "parquet": _parquet,
    "datasets": _datasets,
}


def open_rows(
    config: SourceConfig, root: str, readers: Mapping[str, Reader] = READERS
) -> SourceRows:
    """Find the files of a source and choose their reader from `readers`.

    Raises UserError if there are no files, if neither their names nor their contents show how to
    read them, and if no reader can read them.
    """
    with locations.refusing(locations.under(root, config.path)):
        paths = find(config, root)
        reader = reader_of(config, paths)
        if reader not in readers:
            raise UserError(
                f"source {config.name!r}: reading {paths[0]} requires TensorFlow, which only "
                "`teacherlm prepare` uses; convert the rows to jsonl or parquet for this command"
            )
        if config.header and reader not in ("csv", "tsv"):
            raise UserError(
                f"source {config.name!r}: header={config.header}, but {paths[0]} is read by the "
                f"reader {reader!r} and not as csv or tsv; leave header empty"
            )
        rows = readers[reader](config, paths)
        beside = (*rows.beside, *explanation_files(config, root))
        return dataclasses.replace(rows, beside=beside)


def explanation_files(config: SourceConfig, root: str) -> list[epath.Path]:
    """Return the files with further explanations of a source's samples.

    Raises UserError if the config names some that do not exist or are not jsonl.
    """
    if not config.explanations:
        return []
    paths = locations.expand(root, config.explanations)
    for path in paths:
        if _reader_of_file(path) != "jsonl":
            raise UserError(
                f"source {config.name!r}: explanations are in {path}, expected a jsonl file; "
                "convert it, and give it a name that ends in .jsonl"
            )
    return paths
