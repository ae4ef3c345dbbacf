"""One pass over the source of a job: its samples are written shard by shard, as a stream.

Nothing holds all samples. Ids and digests of samples are in temporary files of SQLite.
"""

import dataclasses
import hashlib
import itertools
import json
import logging
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, encode_prompts
from teacherlm_jax.annotation.gates import gates
from teacherlm_jax.annotation.job.acceptance import PromptLimit, refuse_explained
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import source_files
from teacherlm_jax.sources.raw_rows import RowLocation, SourceRows
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.sources.seen_ids import StoredIds, stored_key
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

StoreShard = Callable[[int, Sequence[dict[str, Any]]], None]  # gets number and rows


class RowsPass:
    """A pass over the source that writes the samples that are not on record.

    Attributes:
        shortest: tokens of the shortest prompt that was too long; 0 if none was.
        new: number of samples that were added.
    """

    def __init__(
        self,
        config: AnnotateConfig,
        kinds: Sequence[str],
        vocabulary: Vocabulary | None,
        limit: PromptLimit,
        folder: JobFolder,
        store: StoreShard | None = None,
    ):
        """Read nothing yet.

        Args:
            config: the source, and what decides the prompts.
            kinds: kinds of explanations.
            vocabulary: vocabulary of the teachers.
            limit: longest prompt.
            folder: the job's folder, which is read.
            store: gets the number of each new shard with its rows; None: writes it to `folder`.
        """
        self.shortest = self.new = 0
        self._store = store or self._write
        self._config, self._kinds, self._vocabulary = config, kinds, vocabulary
        self._limit, self._folder = limit, folder
        self._lengths: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
        self._shards: list[int] = []

    def run(
        self, before: JobRecord | None, refused: RefusedRows, log: logging.Logger
    ) -> tuple[SourceRows, JobRecord]:
        """Read the source and write new samples; return its files, and the record without them.

        The samples of `before` keep their shards. Raises UserError if one of them has changed or is
        missing, and for whatever `sources.reading` and `acceptance` refuse.
        """
        if before:
            self._shards += before.shards
            for kind, lengths in before.lengths.items():
                self._lengths[kind].update(lengths)
        recorded = _RecordedSamples(self._folder, len(self._shards))
        source = SourceReading(self._config.source, self._config.root, self._config.seed)
        source.seen_ids = StoredIds
        located = source.first(refused, vocabulary=self._vocabulary)
        accepted = self._accepted(self._not_recorded(located, recorded), refused)
        while rows := list(itertools.islice(accepted, self._config.rows_per_shard)):
            self._store(len(self._shards), rows)
            self._shards.append(len(rows))
            self.new += len(rows)
        several = source.rows is not None and len(source.rows.files) > 1
        recorded.refuse_missing(self._config.source.path, several=several)
        for warning in source.warnings:
            log.warning("%s: %s", self._config.source.name, warning)
        for kind, authors in source.imported.items():
            shown = ", ".join(f"{count} by {author}" for author, count in authors.items())
            log.info("%s: further explanations, %s: %s", self._config.source.name, kind, shown)
        assert source.rows is not None
        record = JobRecord(
            source={},
            settings={},
            shards=tuple(self._shards),
            refused=refused.total,
            lengths={kind: dict(sorted(self._lengths[kind].items())) for kind in self._kinds},
        )
        return source.rows, record

    def _write(self, index: int, rows: Sequence[dict[str, Any]]) -> None:
        files.write_jsonl(self._folder.shard(index), rows)

    def _not_recorded(
        self, located: Iterator[tuple[RowLocation, Sample]], recorded: "_RecordedSamples"
    ) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield the samples that are not on record; check all of them."""
        for location, sample in located:
            refuse_explained(self._config, self._kinds, sample)
            gates.require_usable(self._config.gates, [sample])
            if not recorded.has(location, sample):
                yield location, sample

    def _accepted(
        self, rows: Iterator[tuple[RowLocation, Sample]], refused: RefusedRows
    ) -> Iterator[dict[str, Any]]:
        """Yield the samples whose prompts are not too long, as rows; refuse the others."""
        locations: deque[RowLocation] = deque()

        def samples() -> Iterator[Sample]:
            for location, sample in rows:
                locations.append(location)
                yield sample

        for own in encode_prompts(
            samples(), self._kinds, self._vocabulary, self._config.subject_prefix
        ):
            location, sample = locations.popleft(), own[0].sample
            longest = max(prompt.length for prompt in own)
            if self._limit.tokens and longest > self._limit.tokens:
                reason = f"{longest} tokens, more than {self._limit.reason}"
                why = f"the prompt of {sample.id!r} has {reason}"
                refused.refuse(location.file, location.line, why, to_row(sample))
                self.shortest = min(self.shortest or longest, longest)
            else:
                self._count(own)
                yield to_row(sample)

    def _count(self, own: Sequence[ExplanationPrompt]) -> None:
        for prompt in own:
            self._lengths[prompt.kind][prompt.length] += 1


class _RecordedSamples:
    """Digests of the samples on record, and whether the source still has them."""

    def __init__(self, folder: JobFolder, shards: int):
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute(
            "CREATE TABLE samples (id BLOB PRIMARY KEY, digest BLOB, seen INTEGER) WITHOUT ROWID"
        )
        self._empty = not shards
        for index in range(shards):
            rows = ((stored_key(row["id"]), _digest(row)) for row in folder.rows_of_shard(index))
            self._table.executemany("INSERT INTO samples VALUES (?, ?, 0)", rows)

    def has(self, location: RowLocation, sample: Sample) -> bool:
        """Return whether a sample is on record; raise UserError if it has changed since."""
        if self._empty:
            return False
        key = stored_key(sample.id)
        found = self._table.execute("SELECT digest FROM samples WHERE id = ?", (key,)).fetchone()
        if found is None:
            return False
        if found[0] != _digest(to_row(sample)):
            raise UserError(
                f"{location}: the sample {sample.id!r} has changed since this job was planned; "
                "restore the rows of the source, or choose another config.output"
            )
        self._table.execute("UPDATE samples SET seen = 1 WHERE id = ?", (key,))
        return True

    def refuse_missing(self, path: str, *, several: bool) -> None:
        """Raise UserError if a sample on record was not in the source.

        `several` says that the source has several files, whose names may be in the ids.
        """
        query = "SELECT count(*), min(id) FROM samples WHERE seen = 0"
        missing, example = self._table.execute(query).fetchone()
        if missing:
            hint = (
                ". If rows have no ids of their own and there are several files, their ids contain "
                "the name of the file, so they change with a second file or another name"
            )
            raise UserError(
                f"{path}: lacks {missing} of this job's samples, for example "
                f"{example.decode('utf-8', 'surrogatepass')}; restore their rows, or choose "
                f"another config.output{hint if several else ''}"
            )


def _digest(row: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(row).encode()).digest()


def described(rows: SourceRows) -> dict[str, Any]:
    """Return size and digest of each file of a source, by its name in the source's folder."""
    return {
        name: {
            "bytes": files.size(path),
            "digest": rows.digests.get(str(path)) or files.file_digest(path),
        }
        for path, name in source_files.names_apart((*rows.files, *rows.beside)).items()
    }


def settings_of(
    config: AnnotateConfig,
    kinds: Sequence[str],
    vocabulary: Vocabulary | None,
    limit: PromptLimit,
) -> dict[str, Any]:
    """Return the settings that decide the rows of a job and their prompts, as JSON."""
    source = dataclasses.asdict(config.source)
    del source["path"], source["explanations"]
    settings = {
        "source": source,
        "kinds": kinds,
        "author": config.author,
        "gates": config.gates,
        "subject_prefix": config.subject_prefix,
        "rows_per_shard": config.rows_per_shard,
        "vocabulary": vocabulary.digest if vocabulary else "",
        "longest_prompt": limit.tokens,
        "seed": config.seed,
        "prompt_version": prompts.PROMPT_VERSION,
    }
    return json.loads(json.dumps(settings))
