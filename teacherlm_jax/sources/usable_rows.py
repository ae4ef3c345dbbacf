"""Conversion of a source's rows to samples; unusable rows are refused with a reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import source_files
from teacherlm_jax.sources.adapters import to_sample
from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.sources.explanation_filters import without_failed, without_placeholders
from teacherlm_jax.sources.imported_explanations import ImportedExplanations
from teacherlm_jax.sources.raw_rows import LocatedRow, RowLocation, SourceRows
from teacherlm_jax.sources.seen_ids import SeenIds
from teacherlm_jax.sources.source_notes import SourceNotes
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

Check = Callable[[Sample], None]  # raises SampleError for a sample that cannot be used


class LocatedSample(NamedTuple):
    """A sample with its row and the location of the row."""

    location: RowLocation
    sample: Sample
    row: RawRow | files.MalformedRow


class UsableRows:
    """Converter of the rows of one source to samples."""

    def __init__(
        self,
        config: SourceConfig,
        rows: SourceRows,
        refused: RefusedRows,
        checks: Sequence[Check] = (),
        notes: SourceNotes | None = None,
        imported: ImportedExplanations | None = None,
    ):
        """Prepare to read a source.

        Args:
            config: layout of the source.
            rows: its files.
            refused: collects the rows that cannot be used, with file and line.
            checks: checks that `passes` applies.
            notes: object that notes every sample.
            imported: further explanations of the samples.
        """
        self._imported = imported
        self._config, self._refused, self._checks, self._notes = config, refused, checks, notes
        names = {str(path): name for path, name in source_files.names_apart(rows.files).items()}
        self._names = names if len(names) > 1 else {}

    def samples(
        self, located: Iterable[LocatedRow], seen: SeenIds, checked_only: bool = False
    ) -> Iterator[LocatedSample]:
        """Yield the samples whose ids are not in `seen`, a set that the caller extends.

        With `checked_only`, explanations that failed a gate are left out, and with
        `config.drop_placeholders` those that are placeholders.
        """
        for location, row in located:
            try:
                sample = self._sample(location, row)
                if sample.id in seen:
                    raise SampleError("an earlier row has the same id")
            except SampleError as error:
                self._refuse(location, row, error)
                continue
            if self._imported is not None:
                sample = self._imported.added_to(sample)
            if self._notes is not None:
                self._notes.add_sample(sample)
            if self._config.drop_placeholders:
                sample = without_placeholders(sample)
            yield LocatedSample(location, without_failed(sample) if checked_only else sample, row)

    def passes(self, located: LocatedSample) -> bool:
        """Return whether a sample passes all checks; refuse its row if it does not."""
        try:
            for check in self._checks:
                check(located.sample)
        except SampleError as error:
            self._refuse(located.location, located.row, error)
            return False
        return True

    def _sample(self, location: RowLocation, row: RawRow | files.MalformedRow) -> Sample:
        if isinstance(row, files.MalformedRow):
            raise SampleError(row.reason)
        return to_sample(
            self._config.format,
            row,
            source=self._config.name,
            line=location.line,
            subject=self._config.subject,
            file=self._names[location.file] if self._names else "",
            named=self._config.columns,
            prompt=self._config.prompt,
        )

    def _refuse(
        self, location: RowLocation, row: RawRow | files.MalformedRow, error: SampleError
    ) -> None:
        shown = row.text if isinstance(row, files.MalformedRow) else row
        self._refused.refuse(location.file, location.line, str(error), shown)


def length_check(config: SourceConfig, vocabulary: Vocabulary | None) -> Check | None:
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
