"""A finished `annotate` run written as a dataset, in a folder or on the Hugging Face Hub.

The samples are read twice, as a stream: to count rows and collect their types, then to write them.
"""

import contextlib
import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from teacherlm_jax.config import ConvertConfig, DatasetConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import dataset_card, dataset_schema, dataset_upload, hub
from teacherlm_jax.hf.dataset_card import SPLIT, DatasetFacts
from teacherlm_jax.hf.dataset_rows import ExplainedRun, RowWriter, open_explained
from teacherlm_jax.storage import files
from teacherlm_jax.storage.atomic_folder import UnfinishedFolder, whole_or_nothing
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.temporary import TemporaryFolder
from teacherlm_jax.wording import counted


def export(config: ConvertConfig, source: epath.Path, log: logging.Logger) -> None:
    """Write the dataset of the run `source` to `config.output`.

    Raises UserError when the run has not finished or is damaged, when there are no rows, and when
    the output cannot be written.
    """
    run = open_explained(source)
    default = ConvertConfig()
    for key in ("dtype", "shard_megabytes", "mesh"):
        if (value := getattr(config, key)) != getattr(default, key):
            raise UserError(
                f"config.{key}={value}: {source} is an `annotate` run, and this key is for models; "
                "remove the key"
            )
    if not hub.is_address(config.output):
        facts = survey(run, config.dataset, config.output)
        with whole_or_nothing(config.output, log.info) as folder:
            _write(run, config.dataset, facts, folder, log)
        _log(log, config.output, facts.rows, config.output)
        return
    name = dataset_upload.parse(config.output)
    facts = survey(run, config.dataset, name)
    dataset_upload.open_repository(name, config.dataset)
    with contextlib.closing(TemporaryFolder(log.info)) as temporary:
        path = temporary.path / "dataset"
        path.mkdir()
        unfinished = UnfinishedFolder(StoragePath(path), lambda: None)
        _write(run, config.dataset, facts, unfinished, log)
        url = dataset_upload.upload(path, name, config.dataset)
    _log(log, url, facts.rows, name)


def _log(log: logging.Logger, place: str, rows: int, name: str) -> None:
    text = "%s: %s; load them with %s"
    log.info(text, place, counted(rows, "row"), dataset_card.loading(name))


def survey(run: ExplainedRun, config: DatasetConfig, address: str) -> DatasetFacts:
    """Count the rows of a dataset and collect their types; `address` is what loads it."""
    first = dataset_schema.MESSAGES if config.rows == "messages" else dataset_schema.SAMPLE
    union, writer, count = dataset_schema.SchemaUnion(first), RowWriter(run, config), 0
    for batch in _batches(writer.rows(), dataset_schema.BATCH):
        union.add(batch)
        count += len(batch)
    if not count:
        missing = sorted(writer.missing.items())
        why = "; ".join(f"{counted(number, 'sample')} with {reason}" for reason, number in missing)
        unchecked = "set config.dataset.checked_only=False, or " if config.checked_only else ""
        raise UserError(
            f"{run.path}: the dataset would have no rows ({why or 'the run has no samples'}); "
            f"{unchecked}choose other config.dataset.forms"
        )
    versions = sorted(writer.prompt_versions)
    return DatasetFacts(address, count, union.schema(), dict(writer.missing), versions)


def _write(
    run: ExplainedRun,
    config: DatasetConfig,
    facts: DatasetFacts,
    folder: UnfinishedFolder,
    log: logging.Logger,
) -> None:
    """Write the data files, and last the card."""
    number = -(-facts.rows // config.rows_per_file)
    rows = RowWriter(run, config).rows()
    for index in range(number):
        folder.check()
        path = folder.path / f"{SPLIT}-{index:05}-of-{number:05}.{config.format}"
        own = itertools.islice(rows, config.rows_per_file)
        write = _write_parquet if config.format == "parquet" else _write_jsonl
        with naming(str(path)), path.open("wb") as file:
            write(cast(BinaryIO, file), own, facts.schema)
        log.info("written %d of %d files", index + 1, number)
    if next(rows, None) is not None:
        raise UserError(f"{run.path}: changed while it was read; repeat the command")
    folder.check()
    files.write_text(folder.path / dataset_card.FILE, dataset_card.card(run, config, facts))


def _write_parquet(file: BinaryIO, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    with pq.ParquetWriter(file, schema) as writer:
        for batch in _batches(rows, dataset_schema.BATCH):
            writer.write_table(dataset_schema.rows_of(batch, schema))


def _write_jsonl(file: BinaryIO, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    for batch in _batches(rows, dataset_schema.BATCH):
        for row in dataset_schema.rows_of(batch, schema).to_pylist():
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    stream = iter(rows)
    while batch := list(itertools.islice(stream, size)):
        yield batch
