"""Raw data sets as samples: the reading of a whole source, as often as it is needed."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import columns
from teacherlm_jax.sources.adapters import FORMATS, to_sample
from teacherlm_jax.sources.raw_rows import (
    LocatedRow,
    RawRow,
    RowLocation,
    SourceRows,
    names_apart,
    open_rows,
)
from teacherlm_jax.sources.subsample import SeededSubsample
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

__all__ = ["FORMATS", "SourceReading", "read_samples", "to_sample", "without_failed"]

Check = Callable[[Sample], None]  # raises SampleError for a sample that is of no use


class Candidates(Protocol):
    """Holds samples with their places, in order, while a limit by seed is being drawn."""

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
) -> Iterator[Sample]:
    """Yields the samples of a source, once; see `SourceReading.first`."""
    reading = SourceReading(config, root, seed)
    found = reading.first(refused, checked_only=checked_only, usable=usable, vocabulary=vocabulary)
    for _, sample in found:
        yield sample


class _Found(NamedTuple):
    place: RowLocation
    sample: Sample
    row: RawRow | files.MalformedRow


@dataclasses.dataclass
class SourceReading:
    """A source to be read several times: the first reading decides which rows are its samples.

    Attributes:
        config: what to read.
        root: the folder that `config.path` is taken under.
        seed: with the samples' ids, decides which of them a limit by seed keeps.
        open_rows: finds the files and their rows.
        rows: the files of the first reading; digests of those that it read in sequence.
        rows_read: by file, in the first reading.
        samples: their number, when the first reading has ended.
    """

    config: SourceConfig
    root: str
    seed: int = 0
    open_rows: Callable[[SourceConfig, str], SourceRows] = open_rows
    rows: SourceRows | None = None
    rows_read: Counter[str] = dataclasses.field(default_factory=Counter)
    samples: int = 0
    _kept: dict[str, set[int]] | None = None  # lines by file; None: all but those left out
    _left_out: dict[str, set[int]] = dataclasses.field(default_factory=dict)

    def first(
        self,
        refused: RefusedRows,
        *,
        checked_only: bool = False,
        usable: Check | None = None,
        vocabulary: Vocabulary | None = None,
        candidates: Candidates | None = None,
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yields the samples with their places, file by file and line by line, up to the limit.

        Rows that make no sample, rows whose id was there before, rows whose sample `usable` raises
        SampleError for and those with more than `config.max_tokens` tokens of `vocabulary` go to
        `refused`, with their file and line; the limit does not count them. With `checked_only`,
        explanations that failed a gate are left out of their samples (see `without_failed`).

        A limit by seed is known only after the last row. `candidates` then holds the samples that
        may be kept; without it the files are read a second time.

        Raises UserError for an unknown format, no file, no usable row, a column that the config
        names and no row has, and for `max_tokens` without a vocabulary.
        """
        checks = [check for check in (usable, _length_check(self.config, vocabulary)) if check]
        own = refused.part()
        self.rows = rows = self._open()
        unseen = columns.Unseen(self.config)
        placed = self._watched(rows, unseen)
        if self.config.limit and self.config.limit_by == "seed":
            self._draw(placed, rows, own, checks, candidates)
            if candidates is None:
                chosen = self.again(checked_only)
            else:
                chosen = self._held(candidates, checked_only)
        else:
            chosen = self._taken(placed, rows, own, checks, checked_only)
        self.samples = 0
        for place, sample in chosen:
            self.samples += 1
            yield place, sample
        if not self.samples:
            names = ", ".join(map(str, rows.files or rows.beside))
            raise UserError(
                f"source {self.config.name!r}: no row of {names} makes a usable sample in the "
                f"format {self.config.format!r}; {_why(own)}"
            )
        unseen.refuse()

    @property
    def chosen(self) -> dict[str, Any]:
        """What the first reading decided, as plain values for `choose`."""
        kept = None if self._kept is None else _listed(self._kept)
        return {"samples": self.samples, "kept": kept, "left_out": _listed(self._left_out)}

    def choose(self, chosen: Mapping[str, Any]) -> None:
        """Takes over what the first reading of another object, of the same source, decided."""
        kept = chosen["kept"]
        self.samples = chosen["samples"]
        self._kept = None if kept is None else {file: set(kept[file]) for file in kept}
        self._left_out = {file: set(lines) for file, lines in chosen["left_out"].items()}

    def _held(
        self, candidates: Candidates, checked_only: bool
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the samples that were drawn, from among the candidates."""
        for place, sample in candidates.read():
            if self._is_chosen(place):
                yield place, without_failed(sample) if checked_only else sample

    def again(self, checked_only: bool = False) -> Iterator[tuple[RowLocation, Sample]]:
        """Yields the samples of the first reading once more."""
        last = self.config.limit if self._kept is None else sum(map(len, self._kept.values()))
        rows, seen = self._open(), set[str]()
        placed = (each for each in rows.read() if self._is_chosen(each[0]))
        filed_before = RefusedRows(None)
        found = self._found(placed, rows, filed_before, seen, checked_only)
        for number, (place, sample, _) in enumerate(found, start=1):
            seen.add(sample.id)
            yield place, sample
            if number == last:
                return

    def _is_chosen(self, place: RowLocation) -> bool:
        if self._kept is not None:
            return place.line in self._kept.get(place.file, ())
        return place.line not in self._left_out.get(place.file, ())

    def _open(self) -> SourceRows:
        if self.config.format not in FORMATS:
            raise UserError(
                f"source {self.config.name!r}: unknown format {self.config.format!r}; known: "
                f"{', '.join(FORMATS)}"
            )
        return self.open_rows(self.config, self.root)

    def _watched(self, rows: SourceRows, unseen: columns.Unseen) -> Iterator[LocatedRow]:
        self.rows_read = Counter({str(path): 0 for path in rows.files})
        for place, row in rows.read():
            self.rows_read[place.file] += 1
            if isinstance(row, Mapping):
                unseen.look(row)
            yield place, row
        unseen.all_read = True

    def _taken(
        self,
        placed: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        checks: Sequence[Check],
        checked_only: bool,
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """The first samples that pass the checks, up to the limit."""
        self._kept, self._left_out, seen = None, {}, set[str]()
        for found in self._found(placed, rows, refused, seen, checked_only):
            if not _passes(found, checks, refused):
                self._left_out.setdefault(found.place.file, set()).add(found.place.line)
                continue
            seen.add(found.sample.id)
            yield found.place, found.sample
            if len(seen) == self.config.limit:
                return

    def _draw(
        self,
        placed: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        checks: Sequence[Check],
        candidates: Candidates | None,
    ) -> None:
        """Decides which samples the seed keeps; checks only those that it might keep."""
        draw, seen = SeededSubsample[RowLocation](self.config.limit, self.seed), set[str]()
        for found in self._found(placed, rows, refused, seen):
            id = found.sample.id
            seen.add(id)
            if draw.takes(id) and _passes(found, checks, refused):
                draw.add(id, found.place)
                if candidates is not None:
                    candidates.add(found.place, found.sample)
        self._kept = {}
        for place in draw.drawn():
            self._kept.setdefault(place.file, set()).add(place.line)

    def _found(
        self,
        placed: Iterable[LocatedRow],
        rows: SourceRows,
        refused: RefusedRows,
        seen: set[str],
        checked_only: bool = False,
    ) -> Iterator[_Found]:
        """The rows that make samples whose ids were not `seen`, a set that the caller adds to."""
        names = {str(path): name for path, name in names_apart(rows.files).items()}
        for place, row in placed:
            try:
                sample = self._sample(place, row, names[place.file] if len(names) > 1 else "")
                if sample.id in seen:
                    raise SampleError("an earlier row has the same id")
            except SampleError as error:
                _file(refused, place, error, row)
                continue
            yield _Found(place, without_failed(sample) if checked_only else sample, row)

    def _sample(self, place: RowLocation, row: RawRow | files.MalformedRow, file: str) -> Sample:
        if isinstance(row, files.MalformedRow):
            raise SampleError(row.reason)
        return to_sample(
            self.config.format,
            row,
            source=self.config.name,
            line=place.line,
            subject=self.config.subject,
            file=file,
            named=self.config.columns,
            prompt=self.config.prompt,
        )


def _listed(lines: Mapping[str, set[int]]) -> dict[str, list[int]]:
    return {file: sorted(numbers) for file, numbers in lines.items()}


def without_failed(sample: Sample) -> Sample:
    """The sample without those explanations that failed a gate, by its annotations.

    Explanations without verdicts, such as people's, stay.
    """
    explanations = dict(sample.explanations)
    for kind, made in sample.annotations.items():
        if kind in explanations and not all(made["gates"].values()):
            texts = explanations[kind]
            explanations[kind] = {name: texts[name] for name in texts if name != made["author"]}
    return dataclasses.replace(sample, explanations=explanations)


def _length_check(config: SourceConfig, vocabulary: Vocabulary | None) -> Check | None:
    """The check of a source's max_tokens: question and answer, as the plain text form has them."""
    if not config.max_tokens:
        return None
    if vocabulary is None:
        raise UserError(
            f"source {config.name!r}: max_tokens={config.max_tokens}, but nothing here counts "
            "tokens before it reads; leave max_tokens at 0"
        )

    def check(sample: Sample) -> None:
        text = prompts.pieces(sample, "text", author="")
        if len(packing.encode_pieces(text, vocabulary, "text").tokens) > config.max_tokens:
            raise SampleError(f"longer than {config.max_tokens} tokens")

    return check


def _passes(found: _Found, checks: Iterable[Check], refused: RefusedRows) -> bool:
    """Whether a sample is of use; files its row when it is not."""
    try:
        for check in checks:
            check(found.sample)
    except SampleError as error:
        _file(refused, found.place, error, found.row)
        return False
    return True


def _file(
    refused: RefusedRows, place: RowLocation, error: SampleError, row: RawRow | files.MalformedRow
) -> None:
    shown = row.text if isinstance(row, files.MalformedRow) else row
    refused.refuse(place.file, place.line, str(error), shown)


def _why(refused: RefusedRows) -> str:
    if not refused.total:
        return "there are no rows"
    reason, count = refused.counts.most_common(1)[0]
    where = f"; {refused.path} has them all" if refused.path else ""
    return f"the commonest reason is {reason!r} ({count} rows){where}"
