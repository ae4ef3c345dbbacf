"""Batches of packed rows for any step: the rows of a step depend only on the seed and the step.

Rows are reshuffled for every epoch by a permutation that is computed, not stored (Grain). A run
that is resumed at step n, on any number of hosts, reads the same rows, and any step can be read in
constant time.

Every epoch contains each row once. If the batch size does not divide the number of rows, the batch
at the boundary contains the last rows of one epoch and the first rows of the next. No row is left
out, and only such a batch can contain a row twice.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from etils import epath
from jaxtyping import Shaped

from teacherlm_jax.data import packing
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import files, store_errors, time_limit
from teacherlm_jax.storage.locations import is_remote

Batch = dict[str, Shaped[np.ndarray, "B T"]]

_FIELDS = tuple(field.name for field in dataclasses.fields(packing.PackedRow))
_THREADS = 4  # threads that read batches
_ROWS = 1 << 60  # end of the order; Grain's infinite order overflows with batches of one row
_AHEAD = 8  # batches that are prefetched

PREPARE_AGAIN = "remove this folder and run `teacherlm prepare` again"
COPY_AGAIN = "remove this copy and repeat the command, which copies it again"


class RowReader:
    """Random access to the batches of one prepared folder.

    Attributes:
        rows: number of packed rows.
    """

    def __init__(
        self,
        folder: epath.Path,
        manifest: Mapping[str, Any],
        *,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        process_count: int = 1,
        verify: bool = False,
        remedy: str = PREPARE_AGAIN,
    ):
        """Open the shards of a prepared folder; `prepared.open` calls this.

        Args:
            folder: folder of one mixture in the output of `prepare`.
            manifest: its manifest, from `prepared.read_manifest`.
            batch_size: rows per step, over all processes.
            seed: seed of the order of rows.
            process_index: index of the part of every batch that this process reads.
            process_count: number of equal parts of a batch.
            verify: read every shard and compare its digest with the manifest.
            remedy: advice at the end of an error about damaged files.

        Raises UserError if a shard is missing, truncated or (with `verify`) altered, and if
        `batch_size` is not a positive multiple of `process_count`.
        """
        if batch_size < 1 or batch_size % process_count:
            raise UserError(
                f"batch_size={batch_size}: expected a positive multiple of the number of processes "
                f"({process_count})"
            )
        self._source = _Rows(folder, manifest, verify, remedy)
        self.rows = len(self._source)
        # The pipeline processes row numbers and reads the rows of a batch at the end, because each
        # stage of a pipeline costs more per element than reading a row.
        numbers = grain.MapDataset.range(self.rows).seed(seed).shuffle()
        self._order = numbers.repeat(_ROWS // self.rows)
        self._batch_size = batch_size
        slices = self._order.batch(batch_size // process_count, batch_fn=list)
        self._batches = slices[process_index::process_count].map(self._source.batch)

    def batch(self, step: int) -> Batch:
        """Return the rows of a step (from 0) that this process reads.

        Returns tokens, segment_ids and positions (int32) and loss_mask (bool), each of the shape
        [batch_size / process_count, length]; see `packing.PackedRow`.
        """
        return self._batches[step]

    def numbers(self, step: int) -> list[int]:
        """Return the row numbers of a step (from 0) over all processes, in the batch's order."""
        first = step * self._batch_size
        return [self._order[index] for index in range(first, first + self._batch_size)]

    def row(self, number: int) -> packing.PackedRow:
        """Return one row by its number in the order on disk, from 0 to `rows` - 1."""
        return self._source.row(number)

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches from `start_step` on, prefetched by threads."""
        options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
        return iter(self._batches[start_step:].to_iter_dataset(options))


class _Rows:
    """Random access to the rows of all shards, numbered in the order of the shards."""

    def __init__(self, folder: epath.Path, manifest: Mapping[str, Any], verify: bool, remedy: str):
        self._folder, self._remedy = folder, remedy
        self._length: int = manifest["length"]
        for shard in manifest["shards"]:
            _check_shard(folder, shard, verify, remedy)
        paths = [_counted(folder / shard["name"], shard) for shard in manifest["shards"]]
        try:
            self._records = time_limit.in_time(
                folder, lambda: grain.sources.ArrayRecordDataSource(paths)
            )
        except RuntimeError as error:  # raised for files that are not ArrayRecord
            _refuse_store_errors(error)
            raise UserError(f"{folder}: a shard cannot be opened: {error}; {remedy}") from None
        if len(self._records) != manifest["rows"]:
            raise UserError(
                f"{folder}: the shards contain {len(self._records)} rows, expected "
                f"{manifest['rows']} as in the manifest; {remedy}"
            )

    def __len__(self) -> int:
        return len(self._records)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Return the rows with these numbers; see `RowReader.batch`."""
        rows = [self.row(number) for number in numbers]
        return {name: np.stack([getattr(row, name) for row in rows]) for name in _FIELDS}

    def row(self, number: int) -> packing.PackedRow:
        """Return one row; see `RowReader.row`."""
        try:
            record = time_limit.in_time(self._folder, lambda: self._records[number])
            return packing.from_bytes(record, self._length)
        except (RuntimeError, ValueError) as error:  # a wrong checksum, or invalid bytes
            _refuse_store_errors(error)
            raise UserError(
                f"{self._folder}: row {number} is damaged: {error}; {self._remedy}"
            ) from None


def _counted(path: epath.Path, shard: Mapping[str, Any]) -> str:
    """Return the path of a shard for ArrayRecord, with the count of rows if it is in a bucket.

    Without a count ArrayRecord opens all shards at once, in threads that would keep a command from
    ending while a bucket does not answer.
    """
    count = f"[0:{shard['records']}]" if is_remote(path) and "records" in shard else ""
    return f"{path}{count}"


def _refuse_store_errors(error: Exception) -> None:
    """Raise StoreError if ArrayRecord could not read a shard from a bucket."""
    if message := store_errors.explain(error):
        raise StoreError(message) from error


def _check_shard(folder: epath.Path, shard: Mapping[str, Any], verify: bool, remedy: str) -> None:
    path = folder / shard["name"]
    if not path.is_file():
        raise UserError(f"{path}: no such file, but the manifest lists it; {remedy}")
    size = path.stat().length
    if size != shard["bytes"]:
        raise UserError(
            f"{path}: has {size} bytes, expected {shard['bytes']} as in the manifest; {remedy}"
        )
    if verify and (digest := files.file_digest(path)) != shard["digest"]:
        raise UserError(
            f"{path}: digest is {digest}, expected {shard['digest']} as in the manifest; {remedy}"
        )
