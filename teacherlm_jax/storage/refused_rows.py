"""Rows that cannot be used: counted by reason, written to a side file, summarized in a few lines.

Reasons may carry values of their rows, such as "label '3' is neither 'true' nor 'false'". If many
reasons differ only in such values, they are counted together under a reason without the values.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.storage.growing import GrowingRows
from teacherlm_jax.wording import counted

_VALUE = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|(?<![A-Za-z_])-?\d+(?:[.,]\d+)*"""
)
_APART = 5  # reasons that differ in their values only and are still counted apart
_KINDS = 100  # kinds of reasons that are counted apart
_SHOWN = 10  # lines of a summary
_PLACES = 3  # rows that are named for each reason

OTHER = "other reasons"


class ReasonCounts:
    """Counts of rows by reason, of bounded size whatever the rows contain.

    The counts do not depend on the order of the rows, as long as there are not more than 100 kinds
    of reasons.

    Attributes:
        counts: rows by reason; reasons with values that were counted together have "..." in their
            place.
        examples: the first reason of each of those that were counted together.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._of_kind: dict[str, list[str]] = {}

    def add(self, reason: str) -> None:
        """Count one row."""
        self.counts[self._key(reason)] += 1

    def _key(self, reason: str) -> str:
        if reason in self.counts:
            return reason
        kind = _VALUE.sub("...", reason)
        if kind in self.examples:
            return kind
        if kind not in self._of_kind and len(self._of_kind) >= _KINDS:
            self.examples.setdefault(OTHER, reason)
            return OTHER
        apart = self._of_kind.setdefault(kind, [])
        if len(apart) < _APART:
            apart.append(reason)
            return reason
        self.examples[kind] = apart[0]
        for earlier in apart:
            self.counts[kind] += self.counts.pop(earlier)
        return kind


class RefusedRows(ReasonCounts):
    """Side file of rows that could not be used: one JSON object each with file, line and reason.

    The file is created with the first refused row, and one that exists is removed, so if there is
    no file, no row was refused. Without a path rows are only counted.

    Attributes:
        path: the side file.
        by_file: counts by reason for each file that had refused rows.
    """

    def __init__(self, path: Path | str | None, *, keep_places: bool = False):
        """Create no file yet; `keep_places` keeps a few places per reason for `places_of`."""
        super().__init__()
        self._keep_places = keep_places
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.by_file: dict[str, ReasonCounts] = {}
        self._places: dict[str, list[str]] = {}  # by reason
        self._whole: RefusedRows | None = None
        self._rows: GrowingRows | None = None

    def part(self) -> "RefusedRows":
        """Return an object with counts of its own, whose rows are also added to this one."""
        part = RefusedRows(None)
        part.path, part._whole = self.path, self
        return part

    @property
    def total(self) -> int:
        """Number of refused rows."""
        return self.counts.total()

    def refuse(self, file: epath.PathLike, line: int, reason: str, row: Any) -> None:
        """Count one row and append it to the side file, as text if it is not JSON."""
        self.add(reason)
        if self._keep_places and reason in self.counts:
            self._places.setdefault(reason, []).append(f"{file}:{line}")
            del self._places[reason][_PLACES:]
        self.by_file.setdefault(str(file), ReasonCounts()).add(reason)
        if self._whole is not None:
            self._whole.refuse(file, line, reason, row)
        elif self.path is not None:
            if self._rows is None:
                self._rows = GrowingRows(self.path, replace=True, default=repr)
            self._rows.add({"file": str(file), "line": line, "reason": reason, "row": row})

    def places_of(self, counted: str) -> list[str]:
        """Return up to three rows, as "file:line", that are counted under a reason in `counts`."""
        places: list[str] = []
        for reason, own in self._places.items():
            together = reason not in self.counts and _VALUE.sub("...", reason) == counted
            if reason == counted or together:
                places += own
        return places[:_PLACES]

    def close(self) -> None:
        """Close the side file; no row may be added after this."""
        if self._rows is not None:
            self._rows.close()

    def summary(self) -> Iterator[str]:
        """Yield at most eleven lines such as "3 rows refused: no question"."""
        return summary(self.counts, self.examples)

    def report(self, log: logging.Logger, name: str = "", level: int = logging.WARNING) -> None:
        """Log the summary.

        Args:
            log: the run's logger.
            name: name of the dataset, put before each line.
            level: level of the lines.
        """
        for line in self.summary():
            before, after = f"{name}: " if name else "", f"; see {self.path}" if self.path else ""
            log.log(level, "%s%s%s", before, line, after)


def summary(counts: Mapping[str, int], examples: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield lines for the ten most frequent reasons, and one line for the others.

    Args:
        counts: rows by reason.
        examples: an example for each reason that stands for several.
    """
    ordered = Counter(counts).most_common()
    for reason, count in ordered[:_SHOWN]:
        example = (examples or {}).get(reason)
        shown = f"{reason}, for example: {example}" if example else reason
        yield f"{counted(count, 'row')} refused: {shown}"
    if rest := ordered[_SHOWN:]:
        left = counted(sum(count for _, count in rest), "row")
        yield f"{left} refused for {counted(len(rest), 'other reason')}"
