"""Columnar files, read in batches: parquet, and Arrow streams of Hugging Face `datasets`."""

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
from teacherlm_jax.sources.columns import PartialRow, column_of
from teacherlm_jax.storage import files

T = TypeVar("T")

DATASET, SPLITS = "state.json", "dataset_dict.json"  # files that `save_to_disk` writes

_BATCH = 1024  # rows converted to Python objects at once
_BUFFER = 1 << 20  # bytes of a parquet column read at once
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # end of every complete Arrow stream

NumberedRow = tuple[int, dict[str, Any] | files.MalformedRow]


def parquet_rows(path: epath.Path, columns: Sequence[str] = ()) -> Iterator[NumberedRow]:
    """Yield (row number from 1, row) for every row of a parquet file.

    Args:
        path: the file.
        columns: names of the columns to read, which may be dotted; empty: all. Names that the file
            does not have are skipped; its rows are then `PartialRow`s.

    Class labels of `datasets` become `labels.Label`s. A row with a value that cannot be read, such
    as text that is not UTF-8, is a MalformedRow. Raises UserError for a damaged file.
    """
    with files.opened(path) as file, _undamaged(path):
        # Without pre-buffering, a row group, which may be the whole file, is not held in memory.
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        available = table.schema_arrow.names
        batches = table.iter_batches(_BATCH, columns=_present(columns, available))
        yield from _numbered(path, batches, table.schema_arrow, columns)


def arrow_rows(path: epath.Path, columns: Sequence[str] = ()) -> Iterator[NumberedRow]:
    """Yield the rows of an Arrow stream, such as an `.arrow` file, as `parquet_rows` does."""
    with files.opened(path) as file, _undamaged(path):
        _require_end(path, file)
        with pa.ipc.open_stream(file) as stream:
            present = _present(columns, stream.schema.names)
            batches = (
                batch.select(present).slice(start, _BATCH)
                for batch in stream
                for start in range(0, batch.num_rows, _BATCH)
            )
            yield from _numbered(path, batches, stream.schema, columns)


def parquet_columns(path: epath.Path) -> list[str]:
    """Return the names of a parquet file's columns."""
    with files.opened(path) as file, _undamaged(path):
        return pq.ParquetFile(file).schema_arrow.names


def arrow_columns(path: epath.Path) -> list[str]:
    """Return the names of an Arrow stream's columns."""
    with files.opened(path) as file, _undamaged(path):
        _require_end(path, file)
        with pa.ipc.open_stream(file) as stream:
            return stream.schema.names


def saved_files(folder: epath.Path, split: str) -> tuple[list[epath.Path], epath.Path]:
    """Return the `.arrow` files that `save_to_disk` wrote to a folder, and the list of them.

    The folder is that of a Dataset, or of a DatasetDict with the split `split`. Raises UserError
    for an unknown split, and for a list of files that is missing or cannot be read.
    """
    if (folder / SPLITS).exists():
        splits = _listed(folder / SPLITS, files.read_json(folder / SPLITS), "splits", str)
        if split not in splits:
            raise UserError(
                f"{folder}: no split {split!r}; set split to one of {', '.join(splits)}"
            )
        folder = folder / split
    state = files.read_json(folder / DATASET)
    saved = _listed(folder / DATASET, state, "_data_files", dict)
    if state.get("_split") not in (None, split):
        actual = state["_split"]
        raise UserError(
            f"{folder}: contains the split {actual!r}, not {split!r}; set split={actual!r}"
        )
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder}: the order of its rows is saved in a separate file, as old versions of "
            "`datasets` did; load it and save it again with a newer version"
        )
    return [folder / file.get("filename", "") for file in saved], folder / DATASET


def _listed(path: epath.Path, value: Any, key: str, kind: type[T]) -> list[T]:
    """Return the list under a key of a JSON object; raise UserError if there is none."""
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, kind) for item in items):
        raise UserError(
            f"{path}: no list {key}, as `save_to_disk` of `datasets` writes it; save the dataset "
            "again"
        )
    return items


def _require_end(path: epath.Path, file: BinaryIO) -> None:
    """Refuse a stream truncated between two batches, which Arrow accepts as a complete one."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_END_OF_STREAM)))
    if file.read() != _END_OF_STREAM:
        raise UserError(
            f"{path}: truncated, or not an Arrow stream as `datasets` writes them; copy it again"
        )
    file.seek(0)


def _present(used: Sequence[str], available: Sequence[str]) -> list[str]:
    """Return the used columns that a file has, or all of its columns if `used` is empty.

    If it has none of them, returns one other column, since the rows must be counted.
    """
    if not used:
        return list(available)
    present = dict.fromkeys(column_of(name, available) for name in used)
    return [name for name in present if name in available] or list(available[:1])


def _numbered(
    path: epath.Path,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    used: Sequence[str],
) -> Iterator[NumberedRow]:
    names, available = _label_names(schema), tuple(schema.names)
    partial = any(column_of(name, available) not in available for name in used)
    number = 0
    for batch in batches:
        for row in _rows(path, batch):
            number += 1
            if isinstance(row, dict):
                row = labelled(row, names) if names else row
                row = PartialRow(row, available) if partial else row
            yield number, row


def _rows(path: epath.Path, batch: pa.RecordBatch) -> list[dict[str, Any] | files.MalformedRow]:
    """Return the rows of a batch, one by one if a value in it cannot be read."""
    try:
        batch.validate(full=True)  # damaged offsets would lead outside of the batch's memory
        return batch.to_pylist()
    except (pa.ArrowInvalid, ValueError, OverflowError):
        return [_row(path, batch.slice(index, 1)) for index in range(batch.num_rows)]


def _row(path: epath.Path, single: pa.RecordBatch) -> dict[str, Any] | files.MalformedRow:
    """Return the row of a batch of one; a value that cannot be read makes it malformed."""
    values: dict[str, Any] = {}
    reason = ""
    for name, column in zip(single.schema.names, single.columns, strict=True):
        try:
            values[name] = _value(column)
        except (pa.ArrowInvalid, ValueError, OverflowError) as error:
            problem = _problem(path, error)
            reason = reason or f"column {name!r} {problem}"
            values[name] = _bytes(column)
    return files.MalformedRow(reason, repr(values)) if reason else values


def _value(single: pa.Array) -> Any:
    """Return the value of an array of one as a Python object."""
    try:
        single.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        # A list is validated with the texts of other rows; what matters here are its offsets.
        single.cast(_as_binary(single.type)).validate(full=True)
    return single[0].as_py()


def _as_binary(type: pa.DataType) -> pa.DataType:
    """Return a type with bytes in place of text, which need not be UTF-8."""
    if pa.types.is_string(type):
        return pa.binary()
    if pa.types.is_large_string(type):
        return pa.large_binary()
    if pa.types.is_list(type):
        return pa.list_(_as_binary(type.value_type))
    if pa.types.is_large_list(type):
        return pa.large_list(_as_binary(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([(field.name, _as_binary(field.type)) for field in type])
    return type


def _problem(path: epath.Path, error: Exception) -> str:
    """Return what is wrong with a value; raise UserError if the file is damaged instead."""
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
        return "is not UTF-8"
    if isinstance(error, pa.ArrowInvalid):
        raise _damaged(path, error) from error
    return f"contains a value that Python cannot represent: {one_line(error)}"


def _bytes(column: pa.Array) -> Any:
    """Return the bytes of a text that is not UTF-8; None for any other value."""
    with contextlib.suppress(pa.ArrowException, ValueError, OverflowError):
        return column.cast(_as_binary(column.type))[0].as_py()
    return None


def _label_names(schema: pa.Schema) -> Names:
    """Return the columns of class labels, which `datasets` records in every file it writes."""
    recorded: Any = json.loads((schema.metadata or {}).get(b"huggingface", "null"))
    for key in ("info", "features"):
        recorded = recorded.get(key) if isinstance(recorded, dict) else None
    return names_of_datasets(recorded)


@contextlib.contextmanager
def _undamaged(path: epath.Path) -> Iterator[None]:
    """Name the file in errors of pyarrow, some of which are plain ValueErrors and OSErrors."""
    try:
        yield
    except FileNotFoundError:  # it was removed from its store
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    except MemoryError as error:  # from a damaged length
        raise UserError(
            f"{path}: damaged, or contains a block larger than the memory; copy it again, or write "
            "it in smaller blocks"
        ) from error


def _damaged(path: epath.Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: damaged, or not of the type its name says: {one_line(error)}; copy it again"
    )
