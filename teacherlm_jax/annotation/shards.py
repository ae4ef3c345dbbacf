"""Shards on disk that an interruption cannot spoil, and that keep what was written before it.

Rows are appended to `part-00000-of-00010.jsonl.partial` as they come, in any order. When the last
row of a shard is there, the shard is written in the order of its samples under its final name,
which an atomic rename gives it, and the partial file goes. A file with a final name is complete.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import GrowingRows


def shard_name(index: int, count: int) -> str:
    """File name of shard `index` of `count`."""
    return f"part-{index:05d}-of-{count:05d}.jsonl"


def cut(ids: Sequence[str], rows_per_shard: int) -> list[tuple[str, ...]]:
    """The ids of each shard, in order; the last one may be shorter."""
    starts = range(0, len(ids), rows_per_shard)
    return [tuple(ids[start : start + rows_per_shard]) for start in starts]


class ShardFolder:
    """The shards of one folder, each holding one row for each of its ids (key `id`).

    Opening it reads what an earlier invocation left: complete shards and rows of partial ones.
    `fault` says of a row why it cannot be kept, or nothing. Raises UserError when there is such a
    row, and when the folder's shards were cut from other ids than `shards`.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[Sequence[str]],
        fault: Callable[[Mapping[str, Any]], str],
        log: logging.Logger,
    ):
        self.folder = folder
        self._fault, self._log = fault, log
        self._shards = shards
        self._shard_of = {id: index for index, ids in enumerate(shards) for id in ids}
        self._complete: set[int] = set()
        self._rows: dict[int, dict[str, dict[str, Any]]] = {}  # of partial shards, by id
        self._open: dict[int, GrowingRows] = {}  # partial shards
        folder.mkdir(parents=True, exist_ok=True)
        self._refuse_strangers()
        for index in range(len(shards)):
            self._recover(index)

    def path(self, index: int) -> Path:
        """Where a shard lies once it is complete."""
        return self.folder / shard_name(index, len(self._shards))

    @property
    def complete(self) -> bool:
        """Whether every row of every shard is there."""
        return len(self._complete) == len(self._shards)

    def has(self, id: str) -> bool:
        """Whether the row of that id is on disk."""
        index = self._shard_of[id]
        return index in self._complete or id in self._rows.get(index, ())

    def add(self, row: dict[str, Any]) -> bool:
        """Puts one row on disk; True when it completed its shard."""
        index = self._shard_of[row["id"]]
        rows = self._rows.setdefault(index, {})
        if index in self._complete or row["id"] in rows:
            raise ValueError(f"{self.path(index)}: a second row for {row['id']}")
        rows[row["id"]] = row
        if index not in self._open:
            self._open[index] = GrowingRows(self._partial(index))
        self._open[index].add(row)
        return self._finish_if_full(index)

    def read(self, index: int) -> list[dict[str, Any]]:
        """Rows of one complete shard. Raises UserError when it does not hold the ids it should."""
        return self._parse(self.path(index), self._shards[index])

    def close(self) -> None:
        """Closes the partial files; they stay on disk for the next invocation."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _partial(self, index: int) -> Path:
        path = self.path(index)
        return path.with_name(f"{path.name}.partial")

    def _refuse_strangers(self) -> None:
        expected = {self.path(index).name for index in range(len(self._shards))}
        for path in sorted(self.folder.glob("part-*")):
            if path.name.removesuffix(".partial") not in expected:
                raise UserError(
                    f"{path}: no shard of this job, which has {len(self._shards)}; the data "
                    "changed since the folder was begun: choose another config.output"
                )

    def _recover(self, index: int) -> None:
        partial = self._partial(index)
        if self.path(index).exists():
            self._refuse_faulty(self.path(index), self.read(index))
            self._complete.add(index)
            partial.unlink(missing_ok=True)  # the crash came between the rename and this
        elif partial.exists():
            rows = [row for _, row in files.read_jsonl(partial)]
            if isinstance(rows[-1] if rows else None, files.MalformedRow):
                self._log.warning(
                    "%s: forgetting the last line, which an interruption cut; its text is written "
                    "again",
                    partial,
                )
                rows.pop()
            self._rows[index] = self._by_id(partial, rows, self._shards[index])
            self._refuse_faulty(partial, self._rows[index].values())
            files.write_jsonl(partial, self._rows[index].values())
            self._finish_if_full(index)

    def _refuse_faulty(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        for number, row in enumerate(rows, start=1):
            if fault := self._fault(row):
                raise UserError(f"{path}: row {number}, of {row['id']!r}, {fault}")

    def _finish_if_full(self, index: int) -> bool:
        ids, rows = self._shards[index], self._rows[index]
        if len(rows) < len(ids):
            return False
        files.write_jsonl(self.path(index), [rows[id] for id in ids])
        self._complete.add(index)
        del self._rows[index]
        if file := self._open.pop(index, None):
            file.close()
        self._partial(index).unlink()
        return True

    def _parse(self, path: Path, ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = self._by_id(path, [row for _, row in files.read_jsonl(path)], ids)
        if list(rows) != list(ids):
            raise UserError(
                f"{path}: holds {len(rows)} rows, not the {len(ids)} samples of this shard in "
                "their order; remove the file to have it written again"
            )
        return list(rows.values())

    def _by_id(self, path: Path, rows: list[Any], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        known, found = set(ids), {}
        for number, row in enumerate(rows, start=1):
            if isinstance(row, files.MalformedRow):
                raise UserError(f"{path}: row {number} is {row.reason}; remove the file")
            if row.get("id") not in known or row["id"] in found:
                raise UserError(
                    f"{path}: row {number} is of {row.get('id')!r}, which is not a sample of this "
                    "shard or comes twice; the data changed since the folder was begun: choose "
                    "another config.output"
                )
            found[row["id"]] = row
        return found
