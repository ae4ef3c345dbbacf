"""Explanations of a file, by id, kind and author, which are added to the samples of a source.

The texts are in a temporary file of SQLite, so that not all of them are in memory.
"""

import dataclasses
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data.sample import KINDS, Sample, id_text, kind_of
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.text_files import json_lines
from teacherlm_jax.storage import files

_KEYS = ("id", "kind", "author", "text")
_TABLE = """
CREATE TABLE texts (
    id BLOB, kind TEXT, author BLOB, text BLOB, file INTEGER, line INTEGER,
    used INTEGER DEFAULT 0, counted INTEGER DEFAULT 0, UNIQUE (id, kind, author)
)
"""


class ImportedExplanations:
    """The explanations of some files, and whether samples have taken them.

    Attributes:
        blank: number of lines with a blank text, which count as missing explanations.
    """

    def __init__(self, paths: Sequence[epath.Path]):
        """Read the files.

        Raises UserError for the first line that is not an explanation, that has an unknown kind, or
        that has the id, kind and author of an earlier line.
        """
        self.blank = 0
        self._paths = paths
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute(_TABLE)
        for number, path in enumerate(paths):
            for line, row in json_lines(path, {}):
                self._add(number, line, row)

    def added_to(self, sample: Sample) -> Sample:
        """Return the sample with its explanations, which count as taken.

        Raises UserError if the sample already has an explanation of a kind by the same author.
        """
        found = self._table.execute(
            "SELECT kind, author, text, file, line FROM texts WHERE id = ? ORDER BY rowid",
            (_bytes(sample.id),),
        ).fetchall()
        if not found:
            return sample
        explanations = {kind: dict(texts) for kind, texts in sample.explanations.items()}
        for kind, author_, text, file, line in found:
            author = author_.decode()
            texts = explanations.setdefault(kind, {})
            if author in texts:
                raise UserError(
                    f"{self._paths[file]}:{line}: the sample {sample.id!r} of the source already "
                    f"has a {kind} by {author!r}; remove this line, or name another author"
                )
            texts[author] = text.decode()
        self._table.execute("UPDATE texts SET used = 1 WHERE id = ?", (_bytes(sample.id),))
        return dataclasses.replace(sample, explanations=explanations)

    def refuse_unused(self, source: str) -> None:
        """Raise UserError if there are explanations that no sample of `source` has taken."""
        count, first = self._table.execute(
            "SELECT count(*), min(rowid) FROM texts WHERE used = 0"
        ).fetchone()
        if count:
            id, file, line = self._table.execute(
                "SELECT id, file, line FROM texts WHERE rowid = ?", (first,)
            ).fetchone()
            others = f" (and {count - 1} further lines name no sample)" if count > 1 else ""
            raise UserError(
                f"{self._paths[file]}:{line}: the source {source!r} has no usable sample with the "
                f"id {id.decode()!r}{others}; correct the id, or remove the line"
            )

    def count(self, sample: Sample) -> None:
        """Count the explanations that a sample has kept after all checks, filters and limits."""
        kept = [
            (_bytes(sample.id), kind, _bytes(author))
            for kind, texts in sample.explanations.items()
            for author in texts
        ]
        update = "UPDATE texts SET counted = 1 WHERE id = ? AND kind = ? AND author = ?"
        self._table.executemany(update, kept)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of explanations that were counted, by kind and author."""
        counts: dict[str, dict[str, int]] = {}
        query = "SELECT kind, author, count(*) FROM texts WHERE counted GROUP BY kind, author"
        for kind, author, count in self._table.execute(query):
            counts.setdefault(kind, {})[author.decode()] = count
        return counts

    def _add(self, file: int, line: int, row: Mapping[str, Any] | files.MalformedRow) -> None:
        where = f"{self._paths[file]}:{line}"
        if fault := _fault(row):
            raise UserError(f"{where}: {fault}")
        assert isinstance(row, Mapping)
        if not row["text"].strip():
            self.blank += 1
            return
        key = (_bytes(id_text(row["id"])), row["kind"], _bytes(row["author"]))
        try:
            self._table.execute(
                "INSERT INTO texts (id, kind, author, text, file, line) VALUES (?, ?, ?, ?, ?, ?)",
                (*key, _bytes(row["text"]), file, line),
            )
        except sqlite3.IntegrityError:
            raise UserError(
                f"{where}: {row['kind']} of {row['id']!r} by {row['author']!r} is also in "
                f"{self._place_of(key)}; keep one of the two lines"
            ) from None

    def _place_of(self, key: tuple[bytes, str, bytes]) -> str:
        file, line = self._table.execute(
            "SELECT file, line FROM texts WHERE id = ? AND kind = ? AND author = ?", key
        ).fetchone()
        return f"{self._paths[file]}:{line}"


def _fault(row: Mapping[str, Any] | files.MalformedRow) -> str:
    """Return why a line is not an explanation; empty if it is one."""
    expected = "expected an object with id, kind, author and text"
    if isinstance(row, files.MalformedRow):
        return f"{row.reason}; {expected}"
    for key, value in _values(row):
        if not isinstance(value, str):
            return f"{key} is {'missing' if key not in row else kind_of(value)}; {expected}"
        if not value.strip() and key != "text":
            return f"{key} is empty; {expected}"
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{key} has half a surrogate pair, which UTF-8 cannot encode; correct the text"
    if row["kind"] not in KINDS:
        return f"kind {row['kind']!r}, expected one of {', '.join(KINDS)}; correct it"
    return ""


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _KEYS:
        value = row.get(key)
        yield key, id_text(value) if key == "id" else value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
