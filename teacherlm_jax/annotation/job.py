"""The annotate verb: teachers explain every sample of a dataset, and interruptions lose nothing.

Explanations are written to `texts/KIND/` in the run folder, one row each. Once all are there,
`samples/` holds the dataset with the explanations in its samples, and their provenance.
"""

import contextlib
import functools
import gc
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explained_rows, shards
from teacherlm_jax.annotation.explain import generate_explanations
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.job_plan import AnnotationJob, plan_job
from teacherlm_jax.annotation.shards import ShardFolder
from teacherlm_jax.annotation.teachers import AnnotationTeacher, inputs
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import Interrupted
from teacherlm_jax.hf import any_model
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.runs.stop_signals import handling
from teacherlm_jax.storage import files

__all__ = ["annotate", "inputs"]

_SECONDS_BETWEEN_LINES = 10.0
_LAST_WRITING = ("texts", "seconds", "tokens_per_second")  # of the invocation that wrote last


def annotate(config: AnnotateConfig, run: Run) -> dict[str, Any]:
    """Write every explanation that is not on disk, then the annotated samples.

    An explanation depends on its teacher, sample and kind, the sampling and the seed, not on order
    or interruptions. A run that has finished is continued with the rows that were added to its
    source.

    Returns:
        `rows` (annotated samples), `refused` (rows), `kinds` (for each: teacher, count, gates
        passed, mean new tokens, finish reasons), and figures of the invocation that wrote last:
        `texts`, `seconds`, `tokens_per_second`.

    Raises:
        UserError: a setting, the source or a teacher cannot be used, or inputs of the run changed.
    """
    job = plan_job(config, run)
    folders = {kind: _folder(kind, job, run) for kind in job.kinds}
    missing = job.missing_prompts(lambda kind, id: folders[kind].has(id))
    finished_before = run.result
    if finished_before and missing:
        run.log.info("%s: the finished run is continued", run.path)
        (run.path / layout.RESULT).unlink()
    progress = AnnotationProgress(run, len(job.samples) * len(job.kinds), len(missing))
    start = time.monotonic()
    with _interruptible(run, progress, folders):
        _write_missing(config, job, missing, folders, progress)
    seconds = time.monotonic() - start
    kinds = _merge(config, job, folders, run.path / layout.SAMPLES)
    for kind, figures in kinds.items():
        run.log.info("%s", _verdict_line(kind, figures))
    if finished_before and not missing:
        run.log.info("%s: finished before, and its inputs have not changed", run.path)
        last = {key: finished_before[key] for key in _LAST_WRITING}
    else:
        last = progress.figures(seconds)
    return {"rows": len(job.samples), "refused": job.refused, "kinds": kinds, **last}


def _folder(kind: str, job: AnnotationJob, run: Run) -> ShardFolder:
    """Open the explanations of one kind; those on disk are compared with the job."""
    return ShardFolder(
        run.path / layout.TEXTS / kind,
        job.shards,
        functools.partial(job.fault, kind),
        run.log,
        explained_rows.is_explanation,
    )


@contextlib.contextmanager
def _interruptible(
    run: Run, progress: "AnnotationProgress", folders: Mapping[str, ShardFolder]
) -> Iterator[None]:
    """Close the shards at the end of the block; signals that stop it end it as Interrupted."""
    try:
        with _terminable():
            yield
    except KeyboardInterrupt as interrupt:
        by = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
        raise Interrupted(
            f"{by.name}: stopped with {progress.done} of {progress.total} explanations in "
            f"{run.path}; repeat the command to resume",
            status=128 + by,
        ) from None
    finally:
        for folder in folders.values():
            folder.close()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let stop signals raise KeyboardInterrupt at once; every counted text is on disk.

    Only the main thread can handle signals; in other threads nothing changes.
    """

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with handling(end):
        yield


class AnnotationProgress:
    """Counts explanations and logs the progress of the job every ten seconds.

    Attributes:
        total: explanations of the whole job.
        written: explanations written by this invocation.
        tokens: their generated tokens.
    """

    def __init__(self, run: Run, total: int, missing: int):
        self._log = run.log
        self.total = total
        self._before = total - missing
        self._start = self._last = time.monotonic()
        self.written = 0
        self.tokens = 0
        run.log.info("explanations: %d in total, %d on disk", total, self._before)

    @property
    def done(self) -> int:
        """Explanations on disk, including those of earlier invocations."""
        return self._before + self.written

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return what this invocation wrote in `seconds`, under the keys _LAST_WRITING."""
        speed = self.tokens / seconds if self.written else 0.0
        return dict(zip(_LAST_WRITING, (self.written, seconds, speed), strict=True))

    def add(self, new_tokens: int) -> None:
        """Count one explanation."""
        self.written += 1
        self.tokens += new_tokens
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self._last = now
        left = (self.total - self.done) * (now - self._start) / self.written
        self._log.info(
            "%d/%d explanations, %.0f tokens/s, %s left",
            self.done,
            self.total,
            self.tokens / (now - self._start),
            f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s",
        )


def _write_missing(
    config: AnnotateConfig,
    job: AnnotationJob,
    missing: Sequence[ExplanationPrompt],
    folders: Mapping[str, ShardFolder],
    progress: AnnotationProgress,
) -> None:
    """Load the teachers that have something to write, one after the other."""
    for teacher in job.teachers:
        if own := [prompt for prompt in missing if prompt.kind in teacher.kinds]:
            _write_by(config, job, teacher, own, folders, progress)


def _write_by(
    config: AnnotateConfig,
    job: AnnotationJob,
    teacher: AnnotationTeacher,
    prompts: Sequence[ExplanationPrompt],
    folders: Mapping[str, ShardFolder],
    progress: AnnotationProgress,
) -> None:
    """Write the missing explanations of one teacher."""
    mesh = sharding.make_mesh(config.mesh)
    loaded = any_model.load(teacher.path, mesh, dtype=config.dtype, attention=config.attention)
    with jax.set_mesh(mesh):
        generated = generate_explanations(
            loaded,
            prompts,
            config.sampling,
            seed=config.seed,
            gates=config.gates,
            slots=config.slots,
        )
        for index, (prompt, explanation) in enumerate(generated):
            if index == 0:
                job.record()  # only now, so that a run without results can change its settings
            row = explained_rows.explanation_row(config, teacher.name, loaded, explanation)
            folders[prompt.kind].add(row)
            progress.add(explanation.new_tokens)
    del generated, loaded
    gc.collect()  # the next teacher needs the memory


def _merge(
    config: AnnotateConfig, job: AnnotationJob, folders: Mapping[str, ShardFolder], to: Path
) -> dict[str, Any]:
    """Write the annotated samples shard by shard; return the figures of each kind.

    A shard of a finished job is not written again, so that a bucket does not receive it again.
    """
    counts = {kind: explained_rows.KindCounts(config.gates) for kind in job.kinds}
    for index, ids in enumerate(job.shards):
        rows = {kind: folder.read(index) for kind, folder in folders.items()}
        for kind, explanations in rows.items():
            for row in explanations:
                counts[kind].add(row)
        merged = []
        for position, id in enumerate(ids):
            own = {kind: explanations[position] for kind, explanations in rows.items()}
            merged.append(explained_rows.annotated(job.samples[id], own))
        files.update_jsonl(to / shards.shard_name(index), merged)
    return {kind: counts[kind].result() for kind in job.kinds}


def _verdict_line(kind: str, figures: Mapping[str, Any]) -> str:
    """Return the verdicts on one kind as text, naming the gates that ran."""
    number = figures["count"]
    written = f"{kind}: {number} explanation{'' if number == 1 else 's'}"
    if not figures["gates"]:
        return f"{written}, not checked by any gate"
    passed = ", ".join(f"{gate} {count}" for gate, count in figures["gates"].items())
    return f"{written}; passed {passed}; all gates {figures['passed_all_gates']}"
