"""The gate `not_duplicate`: no earlier explanation of the kind, in the whole job, resembles it.

Its verdicts are known when all explanations are written. Until then `sketches/` has 121 bytes for
each explanation of a complete file. The process that finishes the job compares them, one kind after
the other, and adds the verdicts to the explanations and samples, shard by shard.

A shard whose samples have the verdicts is marked in its figures, which are written last, so a job
that was killed in between resumes at the first unmarked shard. Samples that were added to the
source come after the earlier ones, so marked shards keep their verdicts.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from etils import epath
from jaxtyping import Bool, UInt8

from teacherlm_jax.annotation.gates.gates import with_verdict
from teacherlm_jax.annotation.gates.near_duplicates import SKETCH, NearDuplicates, sketch
from teacherlm_jax.annotation.job.job_files import JobFolder
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards import finished_files
from teacherlm_jax.annotation.shards.shards import Row, read_rows
from teacherlm_jax.config import names
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import exchange, files

NAME = names.SET_GATE
_BYTES = 1 + SKETCH  # of an explanation: whether it has words, and its sketch


def write_sketches(folder: JobFolder, kind: str, index: int, rows: Sequence[Row]) -> None:
    """Write the sketches of the explanations in a complete file."""
    files.write_bytes(folder.sketches(kind, index), _packed(rows).tobytes())


def record(job: AnnotationJob, gates: Sequence[str]) -> dict[str, int]:
    """Add the verdicts to all files of a job whose shards are finished.

    Nothing happens to shards that have them. Only one process may do this at a time; others may
    read the files meanwhile, since each is replaced in one step.

    Returns the number of near duplicates by kind; none if no shard lacked verdicts.
    """
    unmarked = _unmarked(job)
    if not unmarked:
        return {}
    ends = np.cumsum((0, *job.record.shards))
    failed = {kind: _duplicates(job, kind) for kind in job.kinds}
    counted = {part: job.folder.counted(part) for part in (*job.kinds, layout.SAMPLES)}
    for index in unmarked:
        part = slice(ends[index], ends[index + 1])
        own = {kind: every[part] for kind, every in failed.items()}
        _record_shard(job, gates, index, own)
        for name, sizes in counted.items():
            finished_files.forget_counts(job.folder, name, index, sizes.get(index))
    return {kind: int(every.sum()) for kind, every in failed.items()}


def _unmarked(job: AnnotationJob) -> list[int]:
    """Return the shards whose samples lack verdicts."""
    sizes = sorted(job.folder.counted(layout.SAMPLES).items())
    paths = [job.folder.counts(layout.SAMPLES, *entry) for entry in sizes]
    figures = exchange.read_each(files.read_json, paths)
    return [index for (index, _), own in zip(sizes, figures, strict=True) if not own.get(NAME)]


def _duplicates(job: AnnotationJob, kind: str) -> Bool[np.ndarray, " N"]:
    """Return whether each explanation of a kind resembles an earlier one."""
    texts, start = NearDuplicates(), 0
    for packed in _all_sketches(job, kind):
        with_words = np.flatnonzero(packed[:, 0])
        texts.add_sketches((start + with_words).tolist(), packed[with_words, 1:])
        start += len(packed)
    failed = np.zeros(start, bool)
    failed[list(texts.duplicates())] = True
    return failed


def _all_sketches(job: AnnotationJob, kind: str) -> Iterator[UInt8[np.ndarray, "N B"]]:
    """Yield the sketches of each shard; a file with the wrong size is ignored and computed again.

    A file with one sketch per row is valid, because texts of a shard do not change.
    """
    rows = job.record.shards
    paths = [job.folder.sketches(kind, index) for index in range(len(rows))]
    for index, content in enumerate(exchange.read_each(_content, paths)):
        if len(content) == rows[index] * _BYTES:
            yield np.frombuffer(content, np.uint8).reshape(-1, _BYTES)
        else:
            texts = _rows(job, kind, index, [row["id"] for row in job.folder.rows_of_shard(index)])
            yield _packed(texts)


def _content(path: epath.Path) -> bytes:
    return files.read_bytes(path) if files.exists(path) else b""


def _packed(rows: Sequence[Row]) -> UInt8[np.ndarray, "N B"]:
    packed = np.zeros((len(rows), _BYTES), np.uint8)
    for place, row in zip(packed, rows, strict=True):
        if (values := sketch(row["text"])) is not None:
            place[0], place[1:] = 1, values
    return packed


def _rows(job: AnnotationJob, kind: str, index: int, ids: Sequence[str]) -> list[Row]:
    path = job.folder.texts(kind, index)
    rows = read_rows(path, ids)
    if rows is None:
        raise UserError(f"{path}: changed since it was written; repeat the command")
    return rows


def _record_shard(
    job: AnnotationJob,
    gates: Sequence[str],
    index: int,
    failed: Mapping[str, Bool[np.ndarray, " N"]],
) -> None:
    """Replace the explanations of a shard, their figures, and then its samples."""
    samples = job.folder.read_shard(index)
    ids = [sample.id for sample in samples]
    judged = dict[str, list[Row]]()
    for kind, own in failed.items():
        rows = _rows(job, kind, index, ids)
        judged[kind] = [
            {**row, "gates": with_verdict(gates, row["gates"], NAME, not fails)}
            for row, fails in zip(rows, own.tolist(), strict=True)
        ]
        files.update_jsonl(job.folder.texts(kind, index), judged[kind])
        finished_files.write_counts(job.folder, kind, index, gates, judged[kind])
    finished_files.write_samples(job.folder, index, samples, judged, {NAME: True})
