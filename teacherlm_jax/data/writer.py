"""Writing of packed rows as ArrayRecord shards, which allow random access.

A prepared folder has `rows-00000-of-00003.array_record` …, `vocabulary/` and `manifest.json`, which
is written last: a folder without it is unfinished.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from array_record.python import array_record_module

from teacherlm_jax.data import packing
from teacherlm_jax.storage import files
from teacherlm_jax.storage.disk_errors import naming

_OPTIONS = "group_size:1,zstd:3"  # one row per group: a random read decompresses only that row


def write_shards(
    folder: Path, rows: Iterable[packing.PackedRow], rows_per_shard: int
) -> list[dict[str, Any]]:
    """Write all rows into shards of `rows_per_shard` rows.

    Returns one entry per shard for the manifest: name, records, bytes, and digest of the file.

    Raises OSError with the shard's file for a disk error.
    """
    counts: list[int] = []
    writer = None
    for row in rows:
        if writer is None or counts[-1] == rows_per_shard:
            if writer is not None:
                writer.close()
            writer = _ShardWriter(folder / _unfinished(len(counts)))
            counts.append(0)
        writer.write(packing.to_bytes(row))
        counts[-1] += 1
    if writer is not None:
        writer.close()
    return [_named(folder, index, count, len(counts)) for index, count in enumerate(counts)]


class _ShardWriter:
    """An ArrayRecord file to write; disk errors name it."""

    def __init__(self, path: Path):
        self._path = path
        with naming(path):
            self._file = array_record_module.ArrayRecordWriter(str(path), _OPTIONS)

    def write(self, record: bytes) -> None:
        with naming(self._path):
            self._file.write(record)

    def close(self) -> None:
        with naming(self._path):
            self._file.close()


def _unfinished(index: int) -> str:
    return f"rows-{index:05d}.array_record"


def _named(folder: Path, index: int, records: int, shards: int) -> dict[str, Any]:
    """Rename a shard, whose name has the number of shards, and return its manifest entry."""
    path = folder / f"rows-{index:05d}-of-{shards:05d}.array_record"
    files.publish(folder / _unfinished(index), path)
    return {
        "name": path.name,
        "records": records,
        "bytes": path.stat().st_size,
        "digest": files.file_digest(path),
    }
