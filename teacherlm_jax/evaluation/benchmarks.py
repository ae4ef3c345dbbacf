"""Benchmark files: their questions and their digest."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping

from teacherlm_jax.config import BenchmarkConfig, SourceConfig
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.worked_examples import WorkedExamples
from teacherlm_jax.sources.raw_rows import (
    LocatedRow,
    RowLocation,
    SourceRows,
    digest_of_list,
    open_rows,
)
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows

_Asked = list[tuple[Sample, Question]]


def read(
    config: BenchmarkConfig,
    root: str,
    refused: RefusedRows,
    log: logging.Logger | None = None,
) -> list[Question]:
    """Read the questions of one benchmark, with worked examples if the config asks for some.

    Rows that make no sample, and samples without options, are added to `refused`. Raises UserError
    if no question is left, and if there are too few worked examples for a question.
    """
    asked = _read(config, root, refused, log)
    if not config.shots:
        return [question for _, question in asked]
    examples = _examples(config, root, log)
    try:
        questions = [examples.before(sample, question) for sample, question in asked]
    except ValueError as error:
        raise UserError(str(error)) from None
    if examples.left_out and log is not None:
        log.warning(
            "%s: questions that are also worked examples: %d; each is left out of its own prompt",
            *(config.name, examples.left_out),
        )
    return questions


def _examples(config: BenchmarkConfig, root: str, log: logging.Logger | None) -> WorkedExamples:
    source, refused = _shots_config(config), RefusedRows(None)
    examples = _read(source, root, refused, log)
    if log is not None:
        refused.report(log, f"{config.name}, worked examples")
    return WorkedExamples(examples, config.shots, f"benchmark {config.name!r}, {source.path}")


def _shots_config(config: BenchmarkConfig) -> BenchmarkConfig:
    """Return the source of a benchmark's worked examples, which has the benchmark's layout."""
    path = config.shots_path or config.path
    return dataclasses.replace(config, path=path, split=config.shots_split, limit=0)


def _read(
    config: BenchmarkConfig, root: str, refused: RefusedRows, log: logging.Logger | None
) -> _Asked:
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
    asked = [
        (sample, Question.from_sample(sample, config, raw.get(location)))
        for location, sample in reading.first(refused, usable=_require_options)
    ]
    if log is not None:
        for warning in reading.warnings:
            log.warning("%s: %s", config.name, warning)
    return asked


def _require_options(sample: Sample) -> None:
    if not sample.options:
        raise SampleError(
            "no options to rank; add them to the row, or name their columns in columns.options"
        )


def digest(config: BenchmarkConfig, root: str) -> str:
    """Return the `sha256:…` digest of a benchmark's files, worked examples included.

    For a single file this is the digest of its content, otherwise that of the list of the files'
    digests, in reading order. Raises UserError if there is no file.
    """
    digests = open_rows(config, root).file_digests()
    if config.shots:
        examples = open_rows(_shots_config(config), root).file_digests()
        digests = [*digests, "worked examples", *examples]
    return digest_of_list(digests)
