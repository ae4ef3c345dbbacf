"""Benchmark files as questions."""

import logging

from teacherlm_jax.config import BenchmarkConfig, SourceConfig
from teacherlm_jax.data.sample import Sample, SampleError
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.sources import reading
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
    source = SourceConfig(config.name, config.path, config.format, limit=config.limit)
    samples = reading.read_samples(source, root, refused, usable=_require_options, log=log)
    return [Question.from_sample(sample, config) for sample in samples]


def _require_options(sample: Sample) -> None:
    if not sample.options:
        raise SampleError("no options to rank")
