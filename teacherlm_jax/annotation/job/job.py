"""The annotate verb: teachers explain every sample of a dataset, and interruptions lose nothing.

Explanations are written to `texts/KIND/` in the run folder, one row each, shard by shard. Once a
shard is complete, `samples/` holds its samples with the explanations, and their provenance. Any
number of processes can work in one run folder; they claim shards and may join and leave.
"""

import functools
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.annotation import job_on_beam
from teacherlm_jax.annotation.endpoint import refused_texts
from teacherlm_jax.annotation.endpoint.endpoint_cost import SpentTokens
from teacherlm_jax.annotation.explained_rows import KindCounts
from teacherlm_jax.annotation.job import job_costs, job_plan
from teacherlm_jax.annotation.job.job_plan import AnnotationJob, plan_job
from teacherlm_jax.annotation.job.job_summary import summary
from teacherlm_jax.annotation.session import AnnotationSession
from teacherlm_jax.annotation.shards import duplicate_verdicts, shard_queue
from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.annotation.teachers import inputs
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.locations import is_remote

__all__ = ["annotate", "inputs"]


def annotate(config: AnnotateConfig, run: Run) -> dict[str, Any]:
    """Write every explanation that is not on disk, and the annotated samples.

    An explanation depends on its teacher, sample and kind, the sampling and the seed, not on order,
    interruptions or the number of processes. A finished run continues with rows
    that were added to its source.

    Returns:
        `rows` (annotated samples), `refused` (rows), `kinds` (for each: teacher, count, gates
        passed, mean new tokens, finish reasons; for a teacher on a server also tokens of prompts
        and texts, and their cost), and figures of the process that finished the job:
        `texts`, `seconds`, `tokens_per_second`. `costs` are those of all processes since the run
        began, see `job_costs.costs`.

    Raises:
        UserError: a setting, the source or a teacher cannot be used, or inputs of the run changed.
    """
    if config.runner:
        return _annotate_on_beam(config, run)
    session = None
    while True:
        with run.alone():
            if session is None:
                job = plan_job(config, run)
                session = AnnotationSession(config, run, job, _begin(run, job))
            else:
                job = job_plan.current(job)  # others may have added new rows
                _forget_changed(job)
                if not session.in_progress(job):
                    figures = session.progress.figures(session.stopwatch.seconds)
                    return distributed.of_first(
                        functools.partial(_finish, config, job, run, figures)
                    )
        session.work(job)


def _annotate_on_beam(config: AnnotateConfig, run: Run) -> dict[str, Any]:
    """Write every explanation on Beam workers; see `annotate`."""
    beam = job_on_beam.open_beam(config)
    with run.alone():
        job_on_beam.refuse_others(run)
        job = plan_job(config, run)
        _begin(run, job)
        figures = job_on_beam.write_on_beam(beam, config, run, job)
        return _finish(config, job, run, figures)


def _begin(run: Run, job: AnnotationJob) -> dict[tuple[str, int], int]:
    """Begin a job with a plan that is new, or was compared with the source.

    Returns the number of explanations in each file, in the first process.
    """
    run.publish()
    present = shard_queue.on_disk(job) if distributed.is_first() else {}
    if distributed.is_first() and sum(present.values()) < job.total and run.result:
        run.log.info("%s: resuming the finished run", run.path)
        run.reopen()
    return present


def _finish(
    config: AnnotateConfig,
    job: AnnotationJob,
    run: Run,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the result of a job whose shards are finished, unless another process has done so.

    `figures` are those of the work of this process.
    """
    _clear(job, run)
    if duplicate_verdicts.NAME in config.gates:
        for kind, number in duplicate_verdicts.record(job, config.gates).items():
            run.log.info("near duplicates among %s: %d of %d", kind, number, job.record.rows)
    counts = {kind: _counts(config, job, kind) for kind in job.kinds}
    kinds = {kind: _figures(config, kind, own) for kind, own in counts.items()}
    for kind in kinds:
        if is_endpoint(getattr(config.teachers, kind)):
            refused_texts.write(job, run, kind)
    result = {"rows": job.record.rows, "refused": job.record.refused, "kinds": kinds}
    run.log.info("%s", summary(run.address, result))
    finished = run.result
    if finished and all(finished.get(key) == value for key, value in result.items()):
        if not figures["texts"]:
            run.log.info("%s: finished before, and its inputs have not changed", run.path)
        return finished
    result |= {**figures, "costs": job_costs.costs(config, job, run.address, counts)}
    run.finish(result)
    return result


def _forget_changed(job: AnnotationJob) -> None:
    """Remove figures of files that another process was killed in the middle of replacing."""
    distributed.of_first(lambda: job.folder.forget_changed(job.kinds))


def _clear(job: AnnotationJob, run: Run) -> None:
    """Remove files that dead processes left behind."""
    ShardClaims(run.address / layout.CLAIMS, run.workers).remove_gone()
    run.workers.remove_gone()
    for kind in job.kinds:
        _, partial = job.folder.complete_by_name(kind)
        for name in partial:
            files.remove(run.address / layout.TEXTS / kind / name)
    if not is_remote(run.address):  # files that a process was killed in the middle of writing
        texts = [f"{layout.TEXTS}/{kind}" for kind in job.kinds]
        beside = [
            f"{part}/{kind}" for part in (layout.SKETCHES, layout.REJECTED) for kind in job.kinds
        ]
        for folder in (*texts, *beside, layout.SAMPLES, layout.SHARDS):
            for name in files.names(run.address / folder):
                if name.startswith("."):
                    files.remove(run.address / folder / name)


def _counts(config: AnnotateConfig, job: AnnotationJob, kind: str) -> KindCounts:
    """Return the counts of all explanations of a kind, the sums of those of its shards."""
    counts = KindCounts(config.gates)
    sizes = job.folder.counted(kind)
    paths = [job.folder.counts(kind, index, sizes[index]) for index in sorted(sizes)]
    for figures in exchange.read_each(files.read_json, paths):
        counts.merge(figures)
    return counts


def _figures(config: AnnotateConfig, kind: str, counts: KindCounts) -> dict[str, Any]:
    """Return the figures of a kind as `result.json` has them."""
    if not is_endpoint(getattr(config.teachers, kind)):
        return counts.result()
    spent = SpentTokens(config.endpoint, counts.prompt_tokens, counts.new_tokens)
    return counts.result() | spent.to_json()
