"""The annotate verb: teachers explain every sample of a data set; an interruption costs nothing.

Texts lie below the run folder in `texts/KIND/`, one row an explanation; once all are there,
`samples/` holds the data set again with the explanations in its samples and provenance beside them.
"""

import contextlib
import functools
import gc
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explained_rows, shards
from teacherlm_jax.annotation.job_plan import Plan, Task, Teacher, make_plan
from teacherlm_jax.annotation.shards import ShardFolder
from teacherlm_jax.checkpoints import store
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import Interrupted
from teacherlm_jax.generation.engine import Engine, GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files

_SECONDS_BETWEEN_LINES = 10.0


def annotate(config: AnnotateConfig, run: Run) -> dict[str, Any]:
    """Writes every explanation that is not on disk yet, then the annotated samples.

    A text depends on teacher, sample, kind, sampling and seed, not on order or interruptions.

    Returns:
      `rows` (samples annotated), `refused`, `kinds` (for each: teacher, count, gates passed, mean
      new tokens, finish reasons), and of this invocation `texts`, `seconds`, `tokens_per_second`.

    Raises:
      UserError: a setting, the data or a teacher cannot be used, or the folder is another job's.
    """
    plan = make_plan(config, run)
    folders = {kind: _folder(kind, plan, run) for kind in plan.kinds}
    progress = Progress(run, plan, folders)
    start = time.monotonic()
    try:
        with _terminable():
            _write_missing(config, plan, folders, progress)
    except KeyboardInterrupt as interrupt:
        by = signal.SIGTERM if isinstance(interrupt, _Terminated) else signal.SIGINT
        raise Interrupted(
            f"{by.name}: stopped with {progress.done} of {progress.total} texts in {run.path}; "
            "the same command goes on from there",
            status=128 + by,
        ) from None
    finally:
        for folder in folders.values():
            folder.close()
    seconds = time.monotonic() - start
    by_kind = _merge(config, plan, folders, run.path / layout.SAMPLES)
    return {
        "rows": len(plan.samples),
        "refused": plan.refused,
        "kinds": by_kind,
        "texts": progress.written,
        "seconds": seconds,
        "tokens_per_second": progress.tokens / seconds if progress.written else 0.0,
    }


def _write_missing(
    config: AnnotateConfig, plan: Plan, folders: Mapping[str, ShardFolder], progress: "Progress"
) -> None:
    """Loads those teachers, one after the other, that have something left to write."""
    for teacher in plan.teachers:
        if not all(folders[kind].complete for kind in teacher.kinds):
            _write_kinds(config, plan, teacher, folders, progress)


def _folder(kind: str, plan: Plan, run: Run) -> ShardFolder:
    """The explanations of one kind, those on disk held against the plan."""
    folder, fault = run.path / layout.TEXTS / kind, functools.partial(plan.fault, kind)
    return ShardFolder(folder, plan.shards, fault, run.log)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM end the block at once, as SIGINT does: every text is on disk when it is counted.

    Python lets only the main thread handle signals; elsewhere they do what they always did.
    """

    def end(number: int, frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Progress:
    """Counts texts and says how far the job is, every ten seconds."""

    def __init__(self, run: Run, plan: Plan, folders: Mapping[str, ShardFolder]):
        self._log = run.log
        self.total = len(plan.samples) * len(plan.kinds)
        on_disk = (folder.has(id) for folder in folders.values() for id in plan.samples)
        self._before = sum(on_disk)
        self._start = self._last = time.monotonic()
        self.written = 0
        self.tokens = 0
        run.log.info(
            "%d samples, %d texts wanted, %d here already",
            len(plan.samples),
            self.total,
            self._before,
        )

    @property
    def done(self) -> int:
        """Texts on disk, those of earlier invocations included."""
        return self._before + self.written

    def add(self, new_tokens: int) -> None:
        """Counts one text."""
        self.written += 1
        self.tokens += new_tokens
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self._last = now
        left = (self.total - self.done) * (now - self._start) / self.written
        self._log.info(
            "%d/%d texts, %.0f tokens/s, %s left",
            self.done,
            self.total,
            self.tokens / (now - self._start),
            f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s",
        )


def _write_kinds(
    config: AnnotateConfig,
    plan: Plan,
    teacher: Teacher,
    folders: Mapping[str, ShardFolder],
    progress: Progress,
) -> None:
    """One teacher writes all that is missing of its kinds; the engine never drains in between."""
    mesh = sharding.make_mesh(config.mesh)
    loaded = store.load_model(
        teacher.checkpoint, mesh, dtype=config.dtype, attention=config.attention
    )
    tasks = {
        f"{task.kind}/{task.sample.id}": task
        for task in plan.tasks(teacher.kinds)
        if not folders[task.kind].has(task.sample.id)
    }
    with jax.set_mesh(mesh):
        engine = Engine(
            loaded.model,
            slots=config.slots,
            prompt_length=plan.prompt_length,
            sampling=config.sampling,
            eos_id=loaded.vocabulary.eos_id,
            drawable=loaded.vocabulary.drawable(),
        )
        for completion in engine.generate(_requests(tasks, config.seed)):
            task = tasks[completion.id]
            row = explained_rows.explanation(config, teacher.name, loaded, task, completion)
            folders[task.kind].add(row)
            progress.add(row["new_tokens"])
    del engine, loaded
    gc.collect()  # the next teacher needs the memory


def _requests(tasks: Mapping[str, Task], seed: int) -> Iterator[GenerationRequest]:
    for name, task in tasks.items():
        yield GenerationRequest(name, task.tokens, request_key(seed, task.sample.id, task.kind))


def _merge(
    config: AnnotateConfig, plan: Plan, folders: Mapping[str, ShardFolder], to: Path
) -> dict[str, Any]:
    """Writes the annotated samples shard by shard; gives the counts by kind."""
    counts = {kind: explained_rows.KindCounts(config.gates) for kind in plan.kinds}
    for index, ids in enumerate(plan.shards):
        texts = {kind: folder.read(index) for kind, folder in folders.items()}
        for kind, written in texts.items():
            for row in written:
                counts[kind].add(row)
        merged = []
        for place, id in enumerate(ids):
            own = {kind: written[place] for kind, written in texts.items()}
            merged.append(explained_rows.annotated(plan.samples[id], own))
        files.write_jsonl(to / shards.shard_name(index, len(plan.shards)), merged)
    return {kind: counts[kind].result() for kind in plan.kinds}
