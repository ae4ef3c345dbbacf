"""Batches of packed rows for any step: what a training step reads depends on its number alone.

Rows are shuffled anew for every epoch by a permutation that is computed, not stored (Grain), so
that a run which starts again at step n, on however many hosts, goes on with the very same rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

import grain
import numpy as np

from teacherlm_jax import files
from teacherlm_jax.data import packing
from teacherlm_jax.data.writer import MANIFEST
from teacherlm_jax.errors import UserError

Batch = dict[str, np.ndarray]

_THREADS = 4  # rows read side by side
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
        source = _Rows(folder, self.manifest, verify)
        self.rows = len(source)
        order = grain.MapDataset.source(source).seed(seed).shuffle().repeat(_ROWS // self.rows)
        slices = order.batch(batch_size // process_count)
        self._batches = slices[process_index::process_count]

    def batch(self, step: int) -> Batch:
        """This process's rows of a step (from 0).

        Returns tokens, segment_ids and positions (int32) and loss_mask (bool), each of the shape
        [batch_size / process_count, length]; see `packing.PackedRow`.
        """
        return self._batches[step]

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of `start_step` and all later steps, read ahead by threads."""
        options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
        return iter(self._batches[start_step:].to_iter_dataset(options))


class _Rows:
    """Grain data source: the rows of all shards, one after another."""

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

    def __getitem__(self, index: SupportsIndex) -> Batch:
        try:
            row = packing.from_bytes(self._records[index], self._length)
        except (RuntimeError, ValueError) as error:  # a checksum, or bytes that make no row
            raise UserError(f"{self._folder}: row {index} is damaged: {error}; {_AGAIN}") from None
        return {
            "tokens": row.tokens,
            "segment_ids": row.segment_ids,
            "positions": row.positions,
            "loss_mask": row.loss_mask,
        }


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
    missing = [key for key in ("length", "rows", "shards") if key not in manifest]
    if missing:
        raise UserError(f"{folder / MANIFEST}: lacks {', '.join(missing)}; {_AGAIN}")
    return manifest


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
