"""Columnar files, a batch of rows at a time: parquet, and what Hugging Face's `datasets` saves."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from teacherlm_jax.data.labels import Names, labelled, names_of_datasets
from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.sources.columns import column_of
from teacherlm_jax.storage import files

T = TypeVar("T")

DATASET, SPLITS = "state.json", "dataset_dict.json"  # what folders of `save_to_disk` hold

_BATCH = 1024  # rows that become Python objects at once
_BUFFER = 1 << 20  # bytes of a column of parquet that are read at once
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of every Arrow stream that was closed


def parquet_rows(
    path: epath.Path, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number from 1, row) of a parquet file.

    Args:
        path: of the file.
        columns: names of those to read, which may lead into one by dots; empty: all.

    Class labels of `datasets` are numbers that know their names (`labels.Label`). Raises UserError
    for a file that is damaged, and for a column that is not there, with those that are.
    """
    with files.opened(path) as file, _undamaged(path):
        # a group of rows, which may be the whole file, is not to be held whole
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        wanted = _present(path, columns, table.schema_arrow.names)
        names = _names(table.schema_arrow)
        yield from _numbered(table.iter_batches(_BATCH, columns=wanted), names)


def arrow_rows(
    path: epath.Path, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same of an Arrow stream, such as the `.arrow` files of `datasets`."""
    with files.opened(path) as file, _undamaged(path):
        _require_end(path, file)
        with pa.ipc.open_stream(file) as stream:
            wanted = _present(path, columns, stream.schema.names)
            parts = _parts(batch.select(wanted) for batch in stream)
            yield from _numbered(parts, _names(stream.schema))


def saved_files(folder: epath.Path, split: str) -> tuple[list[epath.Path], epath.Path]:
    """The `.arrow` files of a folder that `save_to_disk` wrote, in order, and what lists them.

    The folder is that of a Dataset, or of a DatasetDict, of which `split` names the part. Raises
    UserError where there is no such split, and for what is not there or cannot be read.
    """
    if (folder / SPLITS).exists():
        splits = _listed(folder / SPLITS, files.read_json(folder / SPLITS), "splits", str)
        if split not in splits:
            raise UserError(f"{folder}: no split {split!r}; its splits are {', '.join(splits)}")
        folder = folder / split
    state = files.read_json(folder / DATASET)
    saved = _listed(folder / DATASET, state, "_data_files", dict)
    if state.get("_split") not in (None, split):
        found = state["_split"]
        raise UserError(
            f"{folder}: holds the split {found!r} and not {split!r}; set split={found!r}"
        )
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder}: its rows stand in an order kept apart from them, as old versions of "
            "`datasets` saved it; load it and save it again with a newer one"
        )
    return [folder / file.get("filename", "") for file in saved], folder / DATASET


def _listed(path: epath.Path, value: Any, key: str, kind: type[T]) -> list[T]:
    """What a JSON object lists under a key; UserError where it does not."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
        raise UserError(f"{path}: lists no {key}, as `save_to_disk` of `datasets` writes them")
    return found


def _require_end(path: epath.Path, file: BinaryIO) -> None:
    """Refuses a stream that was cut between two batches, which Arrow takes for a whole one."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_END_OF_STREAM)))
    if file.read() != _END_OF_STREAM:
        raise UserError(f"{path}: cut short, or no Arrow stream as `datasets` writes them")
    file.seek(0)


def _present(path: epath.Path, columns: Sequence[str], there: Sequence[str]) -> list[str]:
    """The columns of those names, or all that are there."""
    found = dict.fromkeys(column_of(name, there) for name in columns)
    for column in found:
        if column not in there:
            raise UserError(f"{path}: no column {column!r}; its columns are {', '.join(there)}")
    return list(found or there)


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        batch.validate(full=True)  # lest damaged numbers lead outside of its memory
        for start in range(0, batch.num_rows, _BATCH):
            yield batch.slice(start, _BATCH)


def _names(schema: pa.Schema) -> Names:
    """Where class labels stand, as `datasets` notes it in every file that it writes."""
    told: Any = json.loads((schema.metadata or {}).get(b"huggingface", "null"))
    for key in ("info", "features"):
        told = told.get(key) if isinstance(told, dict) else None
    return names_of_datasets(told)


def _numbered(
    batches: Iterable[pa.RecordBatch], names: Names
) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, labelled(row, names) if names else row


@contextlib.contextmanager
def _undamaged(path: epath.Path) -> Iterator[None]:
    """Names the file in the errors of pyarrow, some of which are plain ValueErrors and OSErrors."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        said = one_line(error)
        raise UserError(f"{path}: damaged, or not what its name says: {said}") from error
    except MemoryError as error:  # of a damaged length
        raise UserError(f"{path}: damaged, or in pieces larger than the memory") from error
