"""Shards of explanations on disk, which an interruption or a damaged line does not invalidate.

Rows are appended to `part-00000.jsonl.partial` as they finish, in any order. When the last row of a
shard is there, the shard is written in the order of its ids under its final name in one step, and
the partial file is removed. A file with a final name is complete.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import GrowingRows

Row = Mapping[str, Any]


def shard_name(index: int) -> str:
    """Return the file name of a shard. It does not change when shards are added."""
    return f"part-{index:05d}.jsonl"


def split_into_shards(ids: Sequence[str], rows_per_shard: int) -> list[tuple[str, ...]]:
    """Return the ids of each shard, in order; the last shard may be shorter."""
    starts = range(0, len(ids), rows_per_shard)
    return [tuple(ids[start : start + rows_per_shard]) for start in starts]


def read_shard_list(path: Path) -> list[tuple[str, ...]]:
    """Return the ids of each shard as `write_shard_list` recorded them; empty without the file."""
    if not path.exists():
        return []
    shards = []
    for number, row in files.read_jsonl(path):
        ids = [] if isinstance(row, files.MalformedRow) else row.get("ids")
        if not ids or not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise UserError(
                f"{path}:{number}: expected a list of ids; restore the file, or choose another "
                "config.output"
            )
        shards.append(tuple(ids))
    return shards


def write_shard_list(path: Path, shards: Sequence[Sequence[str]]) -> None:
    """Record the ids of each shard, one shard per line."""
    files.write_jsonl(path, [{"ids": list(ids)} for ids in shards])


class ShardFolder:
    """Shards of one folder; each holds one row for each of its ids (key `id`)."""

    def __init__(
        self,
        folder: Path,
        shards: Sequence[Sequence[str]],
        fault: Callable[[Row], str],
        log: logging.Logger,
        intact: Callable[[Row], bool] = lambda row: True,
    ):
        """Read the rows of earlier invocations; nothing is written for shards without any.

        Damaged lines are dropped with a warning, so their rows count as missing; intact rows stay,
        and a complete shard that lost rows becomes partial again.

        Args:
            folder: the folder, which need not exist.
            shards: the ids of each shard.
            fault: function that returns why a row does not belong to the job, or an empty string.
            log: the run's logger.
            intact: function that returns whether a JSON object has what a row needs.

        Raises:
            UserError: a row or a file belongs to another job.
        """
        self.folder = folder
        self._fault, self._log, self._intact = fault, log, intact
        self._shards = shards
        self._shard_of = {id: index for index, ids in enumerate(shards) for id in ids}
        self._complete: set[int] = set()
        self._rows: dict[int, dict[str, Row]] = {}  # of partial shards, by id
        self._open: dict[int, GrowingRows] = {}  # partial files
        self._refuse_foreign_files()
        for index in range(len(shards)):
            self._recover(index)

    def path(self, index: int) -> Path:
        """Return the file of a complete shard."""
        return self.folder / shard_name(index)

    @property
    def complete(self) -> bool:
        """Return whether all shards are complete."""
        return len(self._complete) == len(self._shards)

    def has(self, id: str) -> bool:
        """Return whether the row with this id is on disk."""
        index = self._shard_of[id]
        return index in self._complete or id in self._rows.get(index, ())

    def add(self, row: Row) -> bool:
        """Write one row to disk; return whether it completed its shard."""
        index = self._shard_of[row["id"]]
        rows = self._rows.setdefault(index, {})
        if index in self._complete or row["id"] in rows:
            raise ValueError(f"{self.path(index)}: a second row for {row['id']}")
        rows[row["id"]] = row
        if index not in self._open:
            self._open[index] = GrowingRows(self._partial(index))
        self._open[index].add(row)
        return self._finish_if_complete(index)

    def read(self, index: int) -> list[Row]:
        """Return the rows of a complete shard, in the order of its ids."""
        rows = self._intact_rows(self.path(index), index)
        if list(rows) != list(self._shards[index]):
            raise UserError(f"{self.path(index)}: changed since it was written; repeat the command")
        return list(rows.values())

    def close(self) -> None:
        """Close the partial files; they stay on disk for the next invocation."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _partial(self, index: int) -> Path:
        path = self.path(index)
        return path.with_name(f"{path.name}.partial")

    def _refuse_foreign_files(self) -> None:
        expected = {self.path(index).name for index in range(len(self._shards))}
        for path in sorted(self.folder.glob("part-*")):
            if path.name.removesuffix(".partial") not in expected:
                raise UserError(
                    f"{path}: not a shard of this job, which has {len(self._shards)} on record; "
                    "restore the run folder, or choose another config.output"
                )

    def _recover(self, index: int) -> None:
        path, partial = self.path(index), self._partial(index)
        sources = [file for file in (path, partial) if file.exists()]
        if not sources:
            return
        rows: dict[str, Row] = {}
        for file in sources:
            rows = self._intact_rows(file, index) | rows
        if path in sources and list(rows) == list(self._shards[index]):
            self._complete.add(index)
            partial.unlink(missing_ok=True)  # left by a crash after the shard was written
            return
        self._rows[index] = rows
        if not self._finish_if_complete(index):
            files.write_jsonl(partial, rows.values())
            path.unlink(missing_ok=True)

    def _intact_rows(self, path: Path, index: int) -> dict[str, Row]:
        """Return the rows of a file by id, without damaged and repeated ones."""
        ids, rows, damaged = set(self._shards[index]), dict[str, Row](), []
        for number, row in files.read_jsonl(path):
            if isinstance(row, files.MalformedRow) or not self._intact(row) or "id" not in row:
                damaged.append(number)
                continue
            if row["id"] not in ids:
                raise UserError(
                    f"{path}:{number}: id {row['id']!r} does not belong to this shard; restore the "
                    "run folder, or choose another config.output"
                )
            if fault := self._fault(row):
                raise UserError(f"{path}:{number}: the explanation of {row['id']!r} {fault}")
            rows.setdefault(row["id"], row)
        if damaged:
            self._log.warning(
                "%s: damaged lines: %d, the first is line %d; they are dropped and their "
                "explanations generated again",
                path,
                len(damaged),
                damaged[0],
            )
        return rows

    def _finish_if_complete(self, index: int) -> bool:
        ids, rows = self._shards[index], self._rows[index]
        if len(rows) < len(ids):
            return False
        files.write_jsonl(self.path(index), [rows[id] for id in ids])
        self._complete.add(index)
        del self._rows[index]
        if file := self._open.pop(index, None):
            file.close()
        self._partial(index).unlink(missing_ok=True)
        return True
