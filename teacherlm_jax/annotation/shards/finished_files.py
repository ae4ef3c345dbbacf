"""Figures of a shard's complete files, and its annotated samples."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from teacherlm_jax.annotation import explained_rows
from teacherlm_jax.annotation.job.job_files import JobFolder
from teacherlm_jax.annotation.shards import rejected_texts
from teacherlm_jax.annotation.shards.shards import Row
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files


def write_counts(
    folder: JobFolder, kind: str, index: int, gates: Sequence[str], rows: Iterable[Row]
) -> None:
    """Write the figures of a complete file of explanations, and of the texts they replaced."""
    counts, again = explained_rows.KindCounts(gates), False
    for row in rows:
        counts.add(row)
        again = again or rejected_texts.ATTEMPT in row
    if again:  # otherwise, a bucket is not asked for a file
        for row in rejected_texts.read(folder.rejected(kind, index)):
            counts.add_tokens(row)
    size = files.size(folder.texts(kind, index))
    files.write_json(folder.counts(kind, index, size), counts.to_json())


def write_samples(
    folder: JobFolder,
    index: int,
    samples: Iterable[Sample],
    rows: Mapping[str, Sequence[Row]],
    marks: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the annotated samples of a shard, and their figures.

    A file with the right content is not written again.

    Args:
        folder: the job's folder.
        index: number of the shard.
        samples: samples of the shard.
        rows: explanations of all samples, by kind.
        marks: further values of the figures.
    """
    merged = []
    for position, sample in enumerate(samples):
        own = {kind: explanations[position] for kind, explanations in rows.items()}
        merged.append(explained_rows.annotated(sample, own))
    path = folder.samples(index)
    files.update_jsonl(path, merged)
    figures = {"rows": len(merged), **marks}
    files.write_json(folder.counts(layout.SAMPLES, index, files.size(path)), figures)


def forget_counts(folder: JobFolder, part: str, index: int, size: int | None) -> None:
    """Remove the figures of an old version of a file, of `size` bytes, if the size changed."""
    path = folder.samples(index) if part == layout.SAMPLES else folder.texts(part, index)
    if size is not None and files.size(path) != size:
        files.remove(folder.counts(part, index, size))
