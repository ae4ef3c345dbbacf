"""Benchmark files: their questions and their digest."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping

from teacherlm_jax.config import BenchmarkConfig, SourceConfig
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.sources.raw_rows import LocatedRow, RowLocation, SourceRows, open_rows
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def read(
    config: BenchmarkConfig,
    root: str,
    refused: RefusedRows,
    log: logging.Logger | None = None,
) -> list[Question]:
    """Read the questions of one benchmark.

    Rows that make no sample, and samples without options, are added to `refused`. Raises UserError
    if no question is left.
    """
    keep_raw = config.style == "authors" and config.format == "mmlu"
    raw: dict[RowLocation, str] = {}

    def open_and_note(source: SourceConfig, root: str) -> SourceRows:
        rows = open_rows(source, root)

        def read_and_note() -> Iterator[LocatedRow]:
            for location, row in rows.read():
                if isinstance(row, Mapping) and isinstance(row.get("question"), str):
                    raw[location] = row["question"]
                yield location, row

        return dataclasses.replace(rows, read=read_and_note) if keep_raw else rows

    reading = SourceReading(config, root, open_rows=open_and_note)
    questions = [
        Question.from_sample(sample, config, raw.get(location))
        for location, sample in reading.first(refused, usable=_require_options)
    ]
    if log is not None:
        for warning in reading.warnings:
            log.warning("%s: %s", config.name, warning)
    return questions


def _require_options(sample: Sample) -> None:
    if not sample.options:
        raise SampleError(
            "no options to rank; add them to the row, or name their columns in columns.options"
        )


def digest(config: BenchmarkConfig, root: str) -> str:
    """Return the `sha256:…` digest of a benchmark's files.

    For a single file this is the digest of its content, otherwise that of the list of the files'
    digests, in reading order. Raises UserError if there is no file.
    """
    rows = open_rows(config, root)
    digests = [files.file_digest(path) for path in (*rows.files, *rows.beside)]
    if len(digests) == 1:
        return digests[0]
    return f"sha256:{hashlib.sha256(json.dumps(digests).encode()).hexdigest()}"
