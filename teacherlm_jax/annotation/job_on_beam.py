"""An annotation on Beam workers: this process plans the job, and distributes batches of shards.

It holds the lock of the run folder all the time, so no other process works in the folder. Nothing
depends on that: a worker never overwrites a complete file, and two of them write the same texts,
so Beam may repeat a batch or give it to two workers.
"""

import dataclasses
import itertools
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax import wording
from teacherlm_jax.annotation.beam_worker import (
    FAILED,
    WRITTEN,
    AnnotationFailure,
    BatchWriter,
    FailureRecorder,
    ShardBatch,
)
from teacherlm_jax.annotation.interruptible import interruptible
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.annotation.work_time import WorkTime
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError, at_end
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.repeated import Repeated

_TEXTS_PER_SLOT = 8  # at least, in a batch: slots run empty at the end of each
_REPORT_SECONDS = 10.0  # between two lines about the progress


def open_beam(config: AnnotateConfig) -> Beam:
    """Open the runner; DirectRunner has one worker process, because each loads a teacher.

    Raises UserError if it cannot be used, or if processes share a model.
    """
    if distributed.process_count() > 1:
        raise UserError(
            f"config.runner={config.runner!r}: {distributed.process_count()} processes that share "
            "models cannot use Beam; start one process without a launcher, or leave it empty"
        )
    return Beam(config.runner, config.beam_options, direct_workers=1)


def refuse_others(run: Run) -> None:
    """Raise UserError if other processes are at work in the folder, which is locked."""
    if others := run.workers.others():
        raise UserError(
            f"{run.address}: {others[0]} is at work in this folder (workers: {len(others)}); wait "
            "until it has finished, or leave config.runner empty to join it"
        )


def write_on_beam(beam: Beam, config: AnnotateConfig, run: Run, job: AnnotationJob) -> dict:
    """Write all missing explanations; return figures of this work, as `result.json` has them.

    Raises UserError if a shard cannot be finished, after all others are finished.
    """
    work, began = run.address / layout.WORK, time.monotonic()
    exchange.remove(work)
    with at_end(lambda: exchange.remove(work)), at_end(lambda: _keep_time(run, work)):
        if job.vocabulary is not None:
            job.vocabulary.save(work / layout.VOCABULARY)
        writer = BatchWriter(
            config,
            dataclasses.replace(job, vocabulary=None),
            work,
            job.vocabulary.digest if job.vocabulary is not None else "",
        )
        _run(beam, config, run, job, writer)
        _report_failures(run, job, work)
        _refuse_unfinished(beam, job)
        return _figures(work, time.monotonic() - began)


def _run(
    beam: Beam, config: AnnotateConfig, run: Run, job: AnnotationJob, writer: BatchWriter
) -> None:
    """Run the pipeline, one teacher after the other, and log its progress."""
    counted = {part: set(job.folder.counted(part)) for part in (*job.kinds, layout.SAMPLES)}
    steps = []
    for number, teacher in enumerate(job.teachers):
        last = number == len(job.teachers) - 1
        shards = [
            index
            for index in _unfinished(job)
            if last or any(index not in counted[kind] for kind in teacher.kinds)
        ]
        if shards:
            steps.append((list(_batches(config, job, teacher, number, shards)), writer))
    if not steps:
        return
    shown = [""]

    def state() -> str:
        return f"{_written(job)} of {job.total} explanations in complete files"

    def report() -> None:
        line = state()
        if line != shown[0]:
            run.log.info("%s", line)
        shown[0] = line

    batches = sum(len(elements) for elements, _ in steps)
    run.log.info(
        "%s writes %s of shards: %s",
        beam.runner,
        wording.counted(batches, "batch", "batches"),
        state(),
    )
    reporting = Repeated(_REPORT_SECONDS, report, run.log.warning)
    try:
        with interruptible(lambda: f"{state()} of {run.address}"):
            beam.run_in_turn("write", steps, FailureRecorder(writer.work))
    finally:
        reporting.end()


def _batches(
    config: AnnotateConfig,
    job: AnnotationJob,
    teacher: AnnotationTeacher,
    number: int,
    shards: Sequence[int],
) -> Iterator[ShardBatch]:
    """Yield batches of shards with enough texts to keep the slots busy."""
    slots = config.slots if teacher.path is not None else config.endpoint.concurrency
    batch: list[int] = []
    for index in shards:
        batch.append(index)
        texts = sum(job.record.shards[one] for one in batch) * len(teacher.kinds)
        if texts >= _TEXTS_PER_SLOT * slots:
            yield ShardBatch(number, tuple(batch))
            batch = []
    if batch:
        yield ShardBatch(number, tuple(batch))


def _unfinished(job: AnnotationJob) -> list[int]:
    """Return the shards whose annotated samples are missing."""
    finished = job.folder.counted(layout.SAMPLES)
    return [index for index in range(len(job.record.shards)) if index not in finished]


def _written(job: AnnotationJob) -> int:
    """Return the number of explanations in complete files."""
    counted = itertools.chain.from_iterable(map(job.folder.counted, job.kinds))
    return sum(job.record.shards[index] for index in counted)


def _report_failures(run: Run, job: AnnotationJob, work: epath.Path) -> None:
    """Log the rows that failed on workers; raise UserError for shards that did."""
    failures = [AnnotationFailure(**one) for one in _written_in(work / FAILED)]
    failures.sort(key=lambda failure: (failure.shard, failure.kinds, failure.id))
    rows = [failure for failure in failures if failure.id]
    if rows:
        first = rows[0]
        run.log.warning(
            "rows that workers refused: %d, for example the %s of %r: %s",
            *(len(rows), first.kinds[0], first.id, first.reason),
        )
    shards = [failure for failure in failures if not failure.id]
    if shards:
        raise UserError(
            f"{shards[0].reason} (shards that failed: {len({one.shard for one in shards})} of "
            f"{len(job.record.shards)}; the others are finished)"
        )


def _refuse_unfinished(beam: Beam, job: AnnotationJob) -> None:
    """Raise UserError if a shard is not finished, although no worker has failed."""
    if missing := _unfinished(job):
        path = job.folder.samples(missing[0])
        advice = (
            "check that the workers use the same store and account as this process"
            if is_remote(path)
            else "config.output must be in a bucket, or a folder that all workers see under the "
            "same path"
        )
        raise UserError(f"{path}: {beam.runner} finished but did not write it; {advice}")


def _keep_time(run: Run, work: epath.Path) -> None:
    """Record the time of all workers together, if they have finished batches."""
    batches = _finished_batches(work)
    if batches:
        time_of_all = WorkTime.total(map(WorkTime.from_json, batches))
        time_of_all.keep(run.address, secrets.token_hex(8))


def _finished_batches(work: epath.Path) -> list[dict[str, Any]]:
    return list(_written_in(work / WRITTEN))


def _written_in(folder: epath.Path) -> Iterator[dict[str, Any]]:
    """Yield what workers wrote into a folder, without files that killed ones did not finish."""
    names = (name for name in files.names(folder) if not name.startswith("."))
    return exchange.read_each(files.read_json, [folder / name for name in names])


def _figures(work: epath.Path, seconds: float) -> dict[str, Any]:
    """Return texts, seconds and tokens per second of all workers together."""
    counts = _finished_batches(work)
    texts, tokens = (sum(one[key] for one in counts) for key in ("texts", "tokens"))
    speed = tokens / seconds if texts else 0.0
    return {"texts": texts, "seconds": seconds if texts else 0.0, "tokens_per_second": speed}
