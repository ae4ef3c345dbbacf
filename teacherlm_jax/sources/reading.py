"""The samples of a source, which can be read several times with the same result."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.adapters import FORMATS, to_sample
from teacherlm_jax.sources.explanation_filters import without_failed, without_placeholders
from teacherlm_jax.sources.raw_rows import (
    LocatedRow,
    RawRow,
    RowLocation,
    SourceRows,
    names_apart,
    open_rows,
)
from teacherlm_jax.sources.source_notes import SourceNotes
from teacherlm_jax.sources.subsample import SeededSubsample
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

__all__ = ["FORMATS", "SourceReading", "read_samples", "to_sample", "without_failed"]

Check = Callable[[Sample], None]  # raises SampleError for a sample that cannot be used


class Candidates(Protocol):
    """Store of samples with their locations, in order, while a limit by seed is drawn."""

    def add(self, place: RowLocation, sample: Sample) -> None:
        """Take one sample."""

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


class _LocatedSample(NamedTuple):
    location: RowLocation
    sample: Sample
    row: RawRow | files.MalformedRow


@dataclasses.dataclass
class SourceReading:
    """A source that is read several times; the first reading decides which rows are samples.

    Attributes:
        config: files and layout of the source.
        root: folder that `config.path` is relative to.
        seed: decides with the samples' ids which of them a limit by seed keeps.
        open_rows: function that finds the files and their rows.
        rows: the files of the first reading, with the digests of text files.
        rows_read: number of rows by file in the first reading.
        samples: number of samples, known when the first reading has ended.
        warnings: what the rows suggest to check in the config, known when the first reading has
            ended.
    """

    config: SourceConfig
    root: str
    seed: int = 0
    open_rows: Callable[[SourceConfig, str], SourceRows] = open_rows
    rows: SourceRows | None = None
    rows_read: Counter[str] = dataclasses.field(default_factory=Counter)
    samples: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)
    _kept: dict[str, set[int]] | None = None  # lines by file; None: all except `_left_out`
    _left_out: dict[str, set[int]] = dataclasses.field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the source again."""
        return self.__dict__ | {"rows": None}

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
        names and no row has, and for `max_tokens` without a vocabulary.
        """
        checks = [check for check in (usable, _length_check(self.config, vocabulary)) if check]
        own = refused.part()
        self.rows = rows = self._open()
        notes = SourceNotes(self.config)
        located = self._noted(rows, notes)
        if self.config.limit and self.config.limit_by == "seed":
            self._draw(located, rows, own, checks, notes, candidates)
            if candidates is None:
                chosen = self.again(checked_only)
            else:
                chosen = self._held(candidates, checked_only)
        else:
            chosen = self._first_usable(located, rows, own, checks, notes, checked_only)
        self.samples = 0
        for location, sample in chosen:
            self.samples += 1
            yield location, sample
        self.warnings = list(notes.warnings())
        if not self.samples:
            names = ", ".join(map(str, rows.files or rows.beside))
            raise UserError(
                f"source {self.config.name!r}: no row of {names} is a usable sample in the "
                f"format {self.config.format!r}; {_why(own, self.warnings)}"
            )
        notes.refuse_missing()

    def _held(
        self, candidates: Candidates, checked_only: bool
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the candidates that were drawn."""
        for location, sample in candidates.read():
            if self._is_chosen(location):
                yield location, without_failed(sample) if checked_only else sample

    def again(self, checked_only: bool = False) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the samples of the first reading again."""
        last = self.config.limit if self._kept is None else sum(map(len, self._kept.values()))
        rows, seen = self._open(), set[str]()
        located = (each for each in rows.read() if self._is_chosen(each[0]))
        refused_before = RefusedRows(None)
        samples = self._new_samples(located, rows, refused_before, seen, checked_only)
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

    def _noted(self, rows: SourceRows, notes: SourceNotes) -> Iterator[LocatedRow]:
        self.rows_read = Counter({str(path): 0 for path in rows.files})
        for location, row in rows.read():
            self.rows_read[location.file] += 1
            if isinstance(row, Mapping):
                notes.add_row(row)
            yield location, row
        notes.all_read = True

    def _first_usable(
        self,
        located: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        checks: Sequence[Check],
        notes: SourceNotes,
        checked_only: bool,
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the first samples that pass the checks, up to the limit."""
        self._kept, self._left_out, seen = None, {}, set[str]()
        for new in self._new_samples(located, rows, refused, seen, checked_only, notes):
            if not _passes(new, checks, refused):
                self._left_out.setdefault(new.location.file, set()).add(new.location.line)
                continue
            seen.add(new.sample.id)
            yield new.location, new.sample
            if len(seen) == self.config.limit:
                return

    def _draw(
        self,
        located: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        checks: Sequence[Check],
        notes: SourceNotes,
        candidates: Candidates | None,
    ) -> None:
        """Decide which samples the seed keeps; check only those that it might keep."""
        draw, seen = SeededSubsample[RowLocation](self.config.limit, self.seed), set[str]()
        for new in self._new_samples(located, rows, refused, seen, notes=notes):
            id = new.sample.id
            seen.add(id)
            if draw.takes(id) and _passes(new, checks, refused):
                draw.add(id, new.location)
                if candidates is not None:
                    candidates.add(new.location, new.sample)
        self._kept = {}
        for location in draw.drawn():
            self._kept.setdefault(location.file, set()).add(location.line)

    def _new_samples(
        self,
        located: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        seen: set[str],
        checked_only: bool = False,
        notes: SourceNotes | None = None,
    ) -> Iterator[_LocatedSample]:
        """Yield the samples whose ids are not in `seen`, a set that the caller extends."""
        names = {str(path): name for path, name in names_apart(rows.files).items()}
        for location, row in located:
            try:
                file = names[location.file] if len(names) > 1 else ""
                sample = self._sample(location, row, file)
                if sample.id in seen:
                    raise SampleError("an earlier row has the same id")
            except SampleError as error:
                _refuse(refused, location, error, row)
                continue
            if notes is not None:
                notes.add_sample(sample)
            if self.config.drop_placeholders:
                sample = without_placeholders(sample)
            yield _LocatedSample(location, without_failed(sample) if checked_only else sample, row)

    def _sample(self, location: RowLocation, row: RawRow | files.MalformedRow, file: str) -> Sample:
        if isinstance(row, files.MalformedRow):
            raise SampleError(row.reason)
        return to_sample(
            self.config.format,
            row,
            source=self.config.name,
            line=location.line,
            subject=self.config.subject,
            file=file,
            named=self.config.columns,
            prompt=self.config.prompt,
        )


def _length_check(config: SourceConfig, vocabulary: Vocabulary | None) -> Check | None:
    """Return the check of `max_tokens`, which counts question and answer in the form 'text'."""
    if not config.max_tokens:
        return None
    if vocabulary is None:
        raise UserError(
            f"source {config.name!r}: max_tokens={config.max_tokens}, but there is no "
            "vocabulary to count tokens with; set max_tokens=0"
        )

    def check(sample: Sample) -> None:
        text = prompts.pieces(sample, "text", author="")
        if len(packing.encode_pieces(text, vocabulary, "text").tokens) > config.max_tokens:
            raise SampleError(f"longer than {config.max_tokens} tokens")

    return check


def _passes(new: _LocatedSample, checks: Iterable[Check], refused: RefusedRows) -> bool:
    """Return whether a sample passes all checks; refuse its row if it does not."""
    try:
        for check in checks:
            check(new.sample)
    except SampleError as error:
        _refuse(refused, new.location, error, new.row)
        return False
    return True


def _refuse(
    refused: RefusedRows,
    location: RowLocation,
    error: SampleError,
    row: RawRow | files.MalformedRow,
) -> None:
    shown = row.text if isinstance(row, files.MalformedRow) else row
    refused.refuse(location.file, location.line, str(error), shown)


def _why(refused: RefusedRows, warnings: Sequence[str]) -> str:
    if not refused.total:
        return "there are no rows"
    reason, count = refused.counts.most_common(1)[0]
    side_file = f"; see {refused.path} for all of them" if refused.path else ""
    hints = "".join(f"; {warning}" for warning in warnings)
    return f"the most frequent reason is {reason!r} ({count} rows){side_file}{hints}"
