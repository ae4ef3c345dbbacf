"""Batches of packed rows for any step: what a training step reads depends on its number alone.

Rows are shuffled anew for every epoch by a permutation that is computed, not stored (Grain), so
that a run which starts again at step n, on however many hosts, goes on with the very same rows, and
that no step is further away than the first.

Epochs follow each other without a gap: each holds every row once, and where the batch size does not
divide the number of rows, the batch at the border holds the last rows of one epoch and the first of
the next. No row is left out, and only such a batch can hold a row twice.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from teacherlm_jax.data import packing
from teacherlm_jax.data.writer import MANIFEST
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

Batch = dict[str, np.ndarray]

_FIELDS = tuple(field.name for field in dataclasses.fields(packing.PackedRow))
_THREADS = 4  # batches read side by side
_ROWS = 1 << 60  # after which the order ends; Grain's own endless one overflows in batches of one
_AHEAD = 8  # batches read before they are asked for


class RowReader:
    """Random access to the batches of one prepared folder.

    Attributes:
        manifest: what was prepared, as read from `manifest.json`.
        rows: number of packed rows.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        process_count: int = 1,
        verify: bool = False,
    ):
        """Opens a prepared folder.

        Args:
            folder: one mixture's folder below the output of `prepare`.
            batch_size: rows a step, over all processes.
            seed: of the order of rows.
            process_index: which slice of every batch this process reads.
            process_count: into how many slices batches are cut.
            verify: reads every shard and compares its digest with the manifest's.

        Raises UserError when the folder is not a finished one, a shard is missing, cut or (with
        `verify`) altered, or the batch cannot be cut evenly.
        """
        folder = Path(folder)
        if batch_size < 1 or batch_size % process_count:
            raise UserError(
                f"batch_size={batch_size}: cannot be cut evenly for {process_count} processes; "
                "choose a positive multiple of their number"
            )
        self.manifest = _read_manifest(folder)
        self._source = _Rows(folder, self.manifest, verify)
        self.rows = len(self._source)
        # The pipeline carries numbers of rows, and rows from where they are a batch: its steps cost
        # more for each element than the reading of a row does.
        numbers = grain.MapDataset.range(self.rows).seed(seed).shuffle()
        self._order = numbers.repeat(_ROWS // self.rows)
        self._batch_size = batch_size
        slices = self._order.batch(batch_size // process_count, batch_fn=list)
        self._batches = slices[process_index::process_count].map(self._source.batch)

    def batch(self, step: int) -> Batch:
        """This process's rows of a step (from 0).

        Returns tokens, segment_ids and positions (int32) and loss_mask (bool), each of the shape
        [batch_size / process_count, length]; see `packing.PackedRow`.
        """
        return self._batches[step]

    def numbers(self, step: int) -> list[int]:
        """Where on disk the rows of a step (from 0) stand, those of all processes, in order."""
        first = step * self._batch_size
        return [self._order[place] for place in range(first, first + self._batch_size)]

    def row(self, number: int) -> packing.PackedRow:
        """One row by its place on disk, from 0 to `rows` - 1."""
        return self._source.row(number)

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of `start_step` and all later steps, read ahead by threads."""
        options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
        return iter(self._batches[start_step:].to_iter_dataset(options))


def steps_of_epochs(folder: Path | str, batch_size: int, epochs: int) -> int:
    """Steps in which a prepared folder is read `epochs` times; UserError when it is not there."""
    return -(-_read_manifest(Path(folder))["rows"] * epochs // batch_size)


class _Rows:
    """The rows of all shards, one after another."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], verify: bool):
        self._folder = folder
        self._length: int = manifest["length"]
        for shard in manifest["shards"]:
            _check_shard(folder, shard, verify)
        paths = [str(folder / shard["name"]) for shard in manifest["shards"]]
        try:
            self._records = grain.sources.ArrayRecordDataSource(paths)
        except RuntimeError as error:  # what the library raises for files that are no ArrayRecord
            raise UserError(f"{folder}: a shard cannot be opened: {error}; {_AGAIN}") from None
        if len(self._records) != manifest["rows"]:
            raise UserError(
                f"{folder}: the shards hold {len(self._records)} rows, the manifest says "
                f"{manifest['rows']}; {_AGAIN}"
            )

    def __len__(self) -> int:
        return len(self._records)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The rows with these numbers; see `RowReader.batch`."""
        rows = [self.row(number) for number in numbers]
        return {name: np.stack([getattr(row, name) for row in rows]) for name in _FIELDS}

    def row(self, number: int) -> packing.PackedRow:
        """See `RowReader.row`."""
        try:
            return packing.from_bytes(self._records[number], self._length)
        except (RuntimeError, ValueError) as error:  # a checksum, or bytes that make no row
            raise UserError(f"{self._folder}: row {number} is damaged: {error}; {_AGAIN}") from None


_AGAIN = "remove the folder and prepare it again"


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `prepare` makes one for each mixture")
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder}: has no {MANIFEST}, so it is no finished mixture; name the folder of one "
            "mixture below the output of `prepare`, and let `prepare` finish"
        )
    manifest = files.read_json(folder / MANIFEST)
    wanted = {"length": _is_count, "rows": _is_count, "shards": _are_shards}
    missing = [key for key in wanted if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise UserError(f"{folder / MANIFEST}: lacks {', '.join(missing)}; {_AGAIN}")
    for key, fits in wanted.items():
        if not fits(manifest[key]):
            raise UserError(f"{folder / MANIFEST}: {key} cannot be {manifest[key]!r}; {_AGAIN}")
    return manifest


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _are_shards(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(shard, dict)
        and isinstance(shard.get("name"), str)
        and isinstance(shard.get("digest"), str)
        and _is_count(shard.get("bytes"))
        for shard in value or [None]
    )


def _check_shard(folder: Path, shard: Mapping[str, Any], verify: bool) -> None:
    path = folder / shard["name"]
    if not path.is_file():
        raise UserError(f"{path}: no such file, though the manifest lists it; {_AGAIN}")
    size = path.stat().st_size
    if size != shard["bytes"]:
        raise UserError(f"{path}: has {size} bytes, the manifest says {shard['bytes']}; {_AGAIN}")
    if verify and (digest := files.file_digest(path)) != shard["digest"]:
        raise UserError(
            f"{path}: has the digest {digest}, the manifest says {shard['digest']}; {_AGAIN}"
        )
