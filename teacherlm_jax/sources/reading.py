"""Reading of a source's samples, several times with the same result."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import source_files
from teacherlm_jax.sources.adapters import FORMATS, to_sample
from teacherlm_jax.sources.explanation_filters import without_failed
from teacherlm_jax.sources.imported_explanations import ImportedExplanations
from teacherlm_jax.sources.raw_rows import (
    LocatedRow,
    RowLocation,
    SourceRows,
    open_rows,
)
from teacherlm_jax.sources.seen_ids import SeenIds
from teacherlm_jax.sources.source_notes import SourceNotes
from teacherlm_jax.sources.subsample import SeededSubsample
from teacherlm_jax.sources.usable_rows import Check, UsableRows, length_check
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.wording import counted

__all__ = ["FORMATS", "Candidates", "SourceReading", "read_samples", "to_sample", "without_failed"]


class Candidates(Protocol):
    """Store of samples with their locations, in order, while a limit by seed is drawn."""

    def add(self, location: RowLocation, sample: Sample) -> None:
        """Add one sample."""

    def read(self) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield every sample in the order in which it was added."""


def read_samples(
    config: SourceConfig,
    root: str,
    refused: RefusedRows,
    *,
    checked_only: bool = False,
    usable: Check | None = None,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    log: logging.Logger | None = None,
) -> Iterator[Sample]:
    """Yield the samples of a source once; see `SourceReading.first`.

    The source's warnings go to `log` after the last sample.
    """
    reading = SourceReading(config, root, seed)
    for _, sample in reading.first(
        refused, checked_only=checked_only, usable=usable, vocabulary=vocabulary
    ):
        yield sample
    if log is not None:
        for warning in reading.warnings:
            log.warning("%s: %s", config.name, warning)


@dataclasses.dataclass
class SourceReading:
    """A source that is read several times; the first reading decides which rows are samples.

    Attributes:
        config: files and layout of the source.
        root: folder that `config.path` is relative to.
        seed: seed of a limit by seed, which keeps samples by a hash of the seed and their ids.
        open_rows: function that finds the files and their rows.
        seen_ids: function that makes an empty set for the ids of a reading.
        rows: the files of the first reading, with the digests of text files.
        rows_read: number of rows by file in the first reading.
        samples: number of samples, known when the first reading has ended.
        warnings: likely mistakes in the config, known when the first reading has ended.
        imported: number of further explanations in the samples, by kind and author, known when the
            first reading has ended.
    """

    config: SourceConfig
    root: str
    seed: int = 0
    open_rows: Callable[[SourceConfig, str], SourceRows] = open_rows
    seen_ids: Callable[[], SeenIds] = set
    rows: SourceRows | None = None
    rows_read: Counter[str] = dataclasses.field(default_factory=Counter)
    samples: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)
    imported: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    _explanations: ImportedExplanations | None = None  # of `config.explanations`, when it was read
    _kept: dict[str, set[int]] | None = None  # lines by file; None: all except `_left_out`
    _left_out: dict[str, set[int]] = dataclasses.field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the source again."""
        return self.__dict__ | {"rows": None, "_explanations": None}

    def first(
        self,
        refused: RefusedRows,
        *,
        checked_only: bool = False,
        usable: Check | None = None,
        vocabulary: Vocabulary | None = None,
        candidates: Candidates | None = None,
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the samples with their locations, in the order of the files, up to the limit.

        Rows that cannot be used go to `refused` with their file and line, and the limit does not
        count them: rows that are not a sample, rows with the id of an earlier row, rows for whose
        sample `usable` raises SampleError, and rows with more than `config.max_tokens` tokens of
        `vocabulary`. With `checked_only`, explanations that failed a gate are left out, and with
        `config.drop_placeholders` those that are placeholders.

        A limit by seed is known only after the last row. `candidates` then stores the samples that
        may be kept; without it the files are read a second time.

        Raises UserError for an unknown format, no file, no usable row, a column that the config
        names and no row has, for `max_tokens` without a vocabulary, and for further explanations
        that cannot be added; those of ids without a sample are noticed if all rows were read.
        """
        checks = [check for check in (usable, length_check(self.config, vocabulary)) if check]
        own = refused.part()
        self.rows = source = self._open()
        notes = SourceNotes(self.config)
        located = self._noted(source, notes)
        rows = UsableRows(self.config, source, own, checks, notes, self._read_explanations())
        self.samples = 0
        for location, sample in self._chosen(located, rows, candidates, checked_only):
            self.samples += 1
            if self._explanations is not None:
                self._explanations.count(sample)
            yield location, sample
        self.warnings = list(notes.warnings())
        if not self.samples:
            raise self._nothing_usable(source, own)
        notes.refuse_missing()
        if self._explanations is not None:
            if notes.all_read:
                self._explanations.refuse_unused(self.config.name)
            self.imported = self._explanations.counts()
            if blank := self._explanations.blank:
                self.warnings.append(f"further explanations that are blank, left out: {blank}")

    def _chosen(
        self,
        located: Iterable[LocatedRow],
        rows: UsableRows,
        candidates: Candidates | None,
        checked_only: bool,
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the usable samples that the limit keeps."""
        if not self.config.limit or self.config.limit_by != "seed":
            yield from self._first_usable(located, rows, checked_only)
            return
        self._draw(located, rows, candidates)
        if candidates is None:
            yield from self.again(checked_only)
        else:
            yield from self._drawn(candidates, checked_only)

    def _drawn(
        self, candidates: Candidates, checked_only: bool
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the candidates that were drawn."""
        for location, sample in candidates.read():
            if self._is_chosen(location):
                yield location, without_failed(sample) if checked_only else sample

    def again(self, checked_only: bool = False) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the samples of the first reading again."""
        last = self.config.limit if self._kept is None else sum(map(len, self._kept.values()))
        rows, seen = self._open(), self.seen_ids()
        located = ((location, row) for location, row in rows.read() if self._is_chosen(location))
        refused_before = RefusedRows(None)
        imported = self._read_explanations()
        usable = UsableRows(self.config, rows, refused_before, imported=imported)
        samples = usable.samples(located, seen, checked_only)
        for number, (location, sample, _) in enumerate(samples, start=1):
            seen.add(sample.id)
            yield location, sample
            if number == last:
                return

    def _is_chosen(self, location: RowLocation) -> bool:
        if self._kept is not None:
            return location.line in self._kept.get(location.file, ())
        return location.line not in self._left_out.get(location.file, ())

    def _open(self) -> SourceRows:
        if self.config.format not in FORMATS:
            raise UserError(
                f"source {self.config.name!r}: unknown format {self.config.format!r}; known: "
                f"{', '.join(FORMATS)}"
            )
        return self.open_rows(self.config, self.root)

    def _read_explanations(self) -> ImportedExplanations | None:
        if self.config.explanations and self._explanations is None:
            paths = source_files.explanation_files(self.config, self.root)
            self._explanations = ImportedExplanations(paths)
        return self._explanations

    def _noted(self, rows: SourceRows, notes: SourceNotes) -> Iterator[LocatedRow]:
        self.rows_read = Counter({str(path): 0 for path in rows.files})
        for location, row in rows.read():
            self.rows_read[location.file] += 1
            if isinstance(row, Mapping):
                notes.add_row(row)
            yield location, row
        notes.all_read = True

    def _first_usable(
        self, located: Iterable[LocatedRow], rows: UsableRows, checked_only: bool
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the first samples that pass the checks, up to the limit."""
        self._kept, self._left_out, seen = None, {}, self.seen_ids()
        for new in rows.samples(located, seen, checked_only):
            if not rows.passes(new):
                self._left_out.setdefault(new.location.file, set()).add(new.location.line)
                continue
            seen.add(new.sample.id)
            yield new.location, new.sample
            if len(seen) == self.config.limit:
                return

    def _draw(
        self,
        located: Iterable[LocatedRow],
        rows: UsableRows,
        candidates: Candidates | None,
    ) -> None:
        """Decide which samples the seed keeps; check only those that it might keep."""
        draw, seen = SeededSubsample[RowLocation](self.config.limit, self.seed), self.seen_ids()
        for new in rows.samples(located, seen):
            id = new.sample.id
            seen.add(id)
            if draw.takes(id) and rows.passes(new):
                draw.add(id, new.location)
                if candidates is not None:
                    candidates.add(new.location, new.sample)
        self._kept = {}
        for location in draw.drawn():
            self._kept.setdefault(location.file, set()).add(location.line)

    def _nothing_usable(self, rows: SourceRows, refused: RefusedRows) -> UserError:
        names = ", ".join(map(str, rows.files or rows.beside))
        return UserError(
            f"source {self.config.name!r}: no row of {names} is a usable sample in the "
            f"format {self.config.format!r}; {_why(refused, self.warnings)}"
        )


def _why(refused: RefusedRows, warnings: Sequence[str]) -> str:
    if not refused.total:
        return "there are no rows"
    reason, count = refused.counts.most_common(1)[0]
    side_file = f"; see {refused.path} for all of them" if refused.path else ""
    hints = "".join(f"; {warning}" for warning in warnings)
    return f"the most frequent reason is {reason!r} ({counted(count, 'row')}){side_file}{hints}"
