"""The raw rows of a source: which files its path names, and how each kind of file is read.

Rows come one after the other and no file is held whole. Files may lie in a store, such as
`gs://bucket/folder`. What only TensorFlow can read, `tasks.tfds_rows` reads.
"""

import dataclasses
import functools
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import pyarrow as pa
from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.sources import arrow, columns
from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.storage import files, locations

# The reader of a file by its name. Shards may be numbered behind the ending, as TensorFlow does it.
_SHARD = r"(-\d+-of-\d+)?"
_FILES = {
    "jsonl": re.compile(rf"\.(jsonl|json|ndjson){_SHARD}(\.gz|\.zst)?$"),
    "parquet": re.compile(rf"\.parquet{_SHARD}$"),
    "datasets": re.compile(r"\.arrow$"),
    "tfrecord": re.compile(rf"\.tfrecords?{_SHARD}(\.gz)?$"),
}
# The reader of a folder by a file that it holds.
_FOLDERS = {arrow.DATASET: "datasets", arrow.SPLITS: "datasets", "features.json": "tfds"}

_JSON = re.compile(rf"\.json{_SHARD}(\.gz|\.zst)?$")  # names of what may be one list of all rows
_BLOCK = 1 << 20  # bytes read at a time
_SHOWN = 4  # names of what a folder holds, in a message


class RowLocation(NamedTuple):
    """Where a row stands: its file, and its line or number there, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


LocatedRow = tuple[RowLocation, RawRow | files.MalformedRow]


@dataclasses.dataclass(frozen=True)
class SourceRows:
    """What a source's path names.

    Attributes:
        files: those that hold rows, in the order in which they are read.
        read: a function that reads them all, from the first row on at each call.
        beside: other files that decide what the rows are.
        digests: `sha256:…` by path of the files that `read` has read from end to end, as far as
            they are read in sequence.
    """

    files: tuple[epath.Path, ...]
    read: Callable[[], Iterator[LocatedRow]]
    beside: tuple[epath.Path, ...] = ()
    digests: dict[str, str] = dataclasses.field(default_factory=dict)


Reader = Callable[[SourceConfig, Sequence[epath.Path]], SourceRows]


def find(config: SourceConfig, root: str) -> list[epath.Path]:
    """The files that a source's path names, or the one folder that its files describe.

    A folder that nothing describes stands for the files in it. Raises UserError where there are
    none, and where those of a folder are more than the shards of one data set.
    """
    path = locations.under(root, config.path)
    if not path.is_dir():
        return locations.expand(root, config.path)
    described = any((path / name).exists() for name in _FOLDERS)
    return [path] if described or config.reader == "tfds" else _shards(config, path)


def _shards(config: SourceConfig, folder: epath.Path) -> list[epath.Path]:
    """All files of a folder, where their names differ in numbers alone and one reader reads them.

    Files of other names may be another split, which nobody wants to train on unasked.
    """
    there = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    kinds: dict[str, list[str]] = {}
    for path in there:
        kinds.setdefault(re.sub(r"\d+", "*", path.name), []).append(path.name)
    if len(kinds) == 1 and (config.reader or _reader_of_file(there[0])):
        return there
    shown = [names[0] if len(names) == 1 else kind for kind, names in kinds.items()]
    known = [folder / name for name in shown if config.reader or _reader_of_file(folder / name)]
    below = described_below(folder)
    shown = [path.name for path in below] or shown
    held = ", ".join(shown[:_SHOWN]) + (" and others" if len(shown) > _SHOWN else "")
    way_out = " or ".join(map(str, (below or known)[:_SHOWN])) or "files of rows"
    raise UserError(
        f"source {config.name!r}: the folder {folder} holds {held or 'nothing'}, and neither one "
        f"of {', '.join(_FOLDERS)} nor shards of a single data set; give {way_out}"
    )


def described_below(folder: epath.Path) -> list[epath.Path]:
    """Those folders in a folder that are a data set, such as the versions of one of TFDS."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and any((path / name).exists() for name in _FOLDERS)
    ]


def reader_of(config: SourceConfig, found: Sequence[epath.Path]) -> str:
    """The reader that a source asks for or, without that, the one that its files tell.

    Raises UserError when they tell none, or more than one.
    """
    if config.reader:
        return config.reader
    readers = sorted({_told_by(config.name, path) for path in found})
    if len(readers) > 1:
        raise UserError(
            f"source {config.name!r}: {found[0]} and the files beside it are of several kinds "
            f"({', '.join(readers)}); make a source for each"
        )
    return readers[0]


def _told_by(source: str, path: epath.Path) -> str:
    if path.is_dir():
        return next(reader for name, reader in _FOLDERS.items() if (path / name).exists())
    if reader := _reader_of_file(path):
        return reader
    raise UserError(
        f"source {source!r}: the name of {path} does not tell how to read it; set the source's "
        "reader, such as 'jsonl'"
    )


def _reader_of_file(path: epath.Path) -> str:
    """The reader that a file's name tells; empty where it tells none."""
    return next((name for name, ending in _FILES.items() if ending.search(path.name)), "")


def names_apart(paths: Sequence[epath.Path]) -> dict[epath.Path, str]:
    """What tells files apart, wherever they lie: their paths from the folder that they share."""
    folders = [path.parent.parts for path in paths]
    shared = 0
    while len({parts[: shared + 1] for parts in folders}) == 1 and shared < len(folders[0]):
        shared += 1
    return {path: "/".join(path.parts[shared:]) for path in paths}


def refuse_split(config: SourceConfig, path: epath.Path) -> None:
    """Raises UserError where a config names a split of what has none."""
    if config.split != "train":
        raise UserError(
            f"source {config.name!r}: split={config.split!r}, but {path} has no splits; name the "
            "files of the split in the path and leave split alone"
        )


def in_files(
    paths: Sequence[epath.Path],
    read: Callable[[epath.Path], Iterable[tuple[int, RawRow | files.MalformedRow]]],
) -> Callable[[], Iterator[LocatedRow]]:
    """A function that gives the rows of files one after the other, by one that reads a file."""

    def rows() -> Iterator[LocatedRow]:
        for path in paths:
            for line, row in read(path):
                yield RowLocation(str(path), line), row

    return rows


def _jsonl(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    refuse_split(config, paths[0])
    digests: dict[str, str] = {}
    read = in_files(paths, functools.partial(_lines, digests=digests))
    return SourceRows(tuple(paths), read, digests=digests)


def _lines(
    path: epath.Path, digests: dict[str, str]
) -> Iterator[tuple[int, RawRow | files.MalformedRow]]:
    line = 0
    with files.opened(path) as opened:
        hashed = files.HashedFile(opened)
        try:
            file = io.BufferedReader(hashed, _BLOCK)
            for line, row in files.parse_lines(_unpacked(path, file)):
                if line == 1 and isinstance(row, files.MalformedRow):
                    _refuse_list(path, row)
                yield line, row
            digests[str(path)] = hashed.digest()
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(
                f"{path}: damaged or cut short after line {line}: {one_line(error)}"
            ) from error


def _refuse_list(path: epath.Path, first: files.MalformedRow) -> None:
    """Raises UserError for a file that is JSON as a whole, a list of all its rows."""
    if _JSON.search(path.name) and first.text.lstrip().startswith("["):
        raise UserError(
            f"{path}: a JSON list; one object a line is wanted, as `jq -c '.[]'` writes them"
        )


def _unpacked(path: epath.Path, file: BinaryIO) -> Iterable[bytes]:
    if path.suffix not in (".gz", ".zst"):
        return file
    if not file.read(1):
        raise EOFError("nothing is in it, not even what packs no rows")  # the unpackers take it
    file.seek(0)
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    return io.BufferedReader(pa.CompressedInputStream(file, "zstd"))


def _parquet(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    refuse_split(config, paths[0])
    wanted = columns.wanted(config)
    return SourceRows(tuple(paths), in_files(paths, lambda path: arrow.parquet_rows(path, wanted)))


def _datasets(config: SourceConfig, paths: Sequence[epath.Path]) -> SourceRows:
    wanted = columns.wanted(config)
    beside: tuple[epath.Path, ...] = ()
    if paths[0].is_dir():
        paths, state = arrow.saved_files(paths[0], config.split)
        beside = (state,)
    else:
        refuse_split(config, paths[0])
    read = in_files(paths, lambda path: arrow.arrow_rows(path, wanted))
    return SourceRows(tuple(paths), read, beside)


READERS: Mapping[str, Reader] = {"jsonl": _jsonl, "parquet": _parquet, "datasets": _datasets}


def open_rows(
    config: SourceConfig, root: str, readers: Mapping[str, Reader] = READERS
) -> SourceRows:
    """Finds the files of a source and, among `readers`, how to read them.

    Raises UserError when there are none, when neither names nor contents tell how to read them, and
    for what no reader reads.
    """
    with locations.refusing(locations.under(root, config.path)):
        found = find(config, root)
        reader = reader_of(config, found)
        if reader not in readers:
            raise UserError(
                f"source {config.name!r}: {found[0]} takes TensorFlow to read, which only "
                "`teacherlm prepare` does; give this verb its rows as jsonl or parquet"
            )
        return readers[reader](config, found)
