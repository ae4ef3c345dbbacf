"""Explanations of one kind for one shard, which interruptions and damaged lines do not invalidate.

Rows are appended to `part-00000.jsonl.partial` as they finish, in any order. When the last row is
there, and has the verdicts that need all rows, all are written in the order of the shard under the
final name in one step, and the partial file is removed. A file with a final name is complete.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.storage.create_only import create_jsonl
from teacherlm_jax.storage.published_rows import PublishedRows

Row = Mapping[str, Any]


class ShardTexts:
    """Rows of one file of explanations: one for each id of its shard (key `id`).

    Attributes:
        path: the file when it is complete.
        complete: whether it is.
    """

    def __init__(
        self,
        path: epath.Path,
        ids: Sequence[str],
        fault: Callable[[Row], str],
        log: logging.Logger,
        scratch: Path,
        intact: Callable[[Row], bool] = lambda row: True,
        judged_later: bool = False,
        final: Callable[[Sequence[Row]], Sequence[Row]] = lambda rows: rows,
    ):
        """Read the rows of earlier processes; nothing is written if there are none.

        Damaged lines are dropped with a warning, so their rows count as missing; intact rows stay,
        and a complete file that lost rows becomes partial again.

        Args:
            path: the file when it is complete.
            ids: the ids of the shard.
            fault: function that returns why a row does not belong to the job, or an empty string.
            log: the run's logger.
            scratch: folder on this machine in which files of a bucket grow.
            intact: function that returns whether a JSON object has all fields of a row.
            judged_later: whether the file is complete only after `finish`, which gets the rows with
                further verdicts.
            final: function that returns the rows of the complete file.

        Raises:
            UserError: a row belongs to another job.
        """
        self.path, self.complete = path, False
        self._partial = path.with_name(f"{path.name}{files.PARTIAL}")
        self._ids, self._scratch = ids, scratch
        self._fault, self._log, self._intact = fault, log, intact
        self._judged_later, self._final = judged_later, final
        self._rows: dict[str, Row] = {}
        self._open: PublishedRows | None = None
        self._recover()

    def __len__(self) -> int:
        """Return the number of rows written."""
        return len(self._ids) if self.complete else len(self._rows)

    def has(self, id: str) -> bool:
        """Return whether the row with this id is written."""
        return self.complete or id in self._rows

    @property
    def unjudged(self) -> list[Row] | None:
        """All rows, in the order of the ids, if they are written but not finished; else None."""
        if self.complete or len(self._rows) < len(self._ids):
            return None
        return [self._rows[id] for id in self._ids]

    def add(self, row: Row) -> bool:
        """Write one row; return whether it completed the file."""
        if self.has(row["id"]):
            raise ValueError(f"{self.path}: a second row for {row['id']}")
        if self._open is None:
            self._open = PublishedRows(self._partial, self._rows.values(), self._scratch)
        self._rows[row["id"]] = row
        self._open.add(row)
        return self._finish_if_complete()

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the complete file: the rows of `unjudged` with further verdicts."""
        create_jsonl(self.path, self._final(rows))
        self.complete = True
        self._rows = {}
        if self._open is not None:
            self._open.remove()
            self._open = None
        else:
            files.remove(self._partial)

    def publish(self) -> None:
        """Upload the partial file of a shard in a bucket, if it has changed."""
        if (rows := self._open) is not None:
            rows.publish()

    def close(self) -> None:
        """Publish and close the partial file; it stays for the next process."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _recover(self) -> None:
        kept = [file for file in (self.path, self._partial) if files.exists(file)]
        rows: dict[str, Row] = {}
        for file in kept:
            rows = self._intact_rows(file) | rows
        whole = self.path in kept and len(rows) == len(self._ids)
        if whole and read_rows(self.path, self._ids) is not None:  # no repeated rows either
            self.complete = True
            if self._partial in kept:  # left by a crash after the file was written
                files.remove(self._partial)
            return
        self._rows = rows
        if kept:
            files.write_jsonl(self._partial, rows.values())
            if self.path in kept:
                files.remove(self.path)
            self._finish_if_complete()

    def _intact_rows(self, path: epath.Path) -> dict[str, Row]:
        """Return the rows of a file by id, without damaged and repeated ones."""
        ids, rows, damaged = set(self._ids), dict[str, Row](), []
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

    def _finish_if_complete(self) -> bool:
        if self._judged_later or (rows := self.unjudged) is None:
            return False
        self.finish(rows)
        return True


def read_rows(path: epath.Path, ids: Sequence[str]) -> list[Row] | None:
    """Return the rows of a complete file in the order of `ids`; None if it is not complete."""
    if not files.exists(path):
        return None
    rows = list[Row]()
    rows += (row for _, row in files.read_jsonl(path) if not isinstance(row, files.MalformedRow))
    return rows if [row.get("id") for row in rows] == list(ids) else None
