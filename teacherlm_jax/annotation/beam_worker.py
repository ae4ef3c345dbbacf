"""The work of Beam workers on an annotation: batches of shards, by a teacher that stays loaded.

One thread of a worker process writes all its batches, one after the other, however many threads
Beam uses there. So the process holds one model and one KV cache, and compiles each program once.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from queue import SimpleQueue
from typing import Any

from etils import epath
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.annotation.endpoint.endpoint_client import REFUSED
from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.loaded_teacher import LoadedTeacher, open_teacher
from teacherlm_jax.annotation.shards.open_shard import OpenShard
from teacherlm_jax.annotation.shards.open_shards import OpenShards
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.annotation.work_time import WorkTime
from teacherlm_jax.annotation.worker import (
    ClaimedShard,
    ShardPrompt,
    missing_prompts,
    write_explanations,
)
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.beam import SideOutput
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary

FAILED, WRITTEN = "failed", "written"  # folders in the scratch folder of a job
_STOP_SECONDS = 10.0  # for the text in progress and the closing of files, after a signal

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ShardBatch:
    """Shards that a worker writes together, so that slots stay busy from one to the next.

    Attributes:
        teacher: index of the teacher in the job.
        shards: numbers of the shards.
    """

    teacher: int
    shards: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class AnnotationFailure:
    """A row that has no explanation, or a shard that cannot be used.

    Attributes:
        shard: number of the shard.
        kinds: kinds of explanations.
        id: id of the sample; empty: the whole shard.
        reason: the message.
    """

    shard: int
    kinds: tuple[str, ...]
    id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class BatchWriter:
    """A stage that writes the missing explanations of batches; its results are failures.

    Attributes:
        config: settings of the run.
        job: the job, without its vocabulary.
        work: scratch folder of the job, with the vocabulary.
        vocabulary: digest of the vocabulary; empty if there is none.
    """

    config: AnnotateConfig
    job: AnnotationJob
    work: epath.Path
    vocabulary: str

    def __call__(self, batch: ShardBatch) -> Iterator[SideOutput]:
        """Write a batch, and yield its failures. Complete files are not written again.

        Raises UserError if this machine does not see the run folder or the teacher, or if the
        teacher cannot work.
        """
        stop = threading.Event()
        writing = _thread().call(functools.partial(self._write, batch, stop))
        try:
            failures = writing.result()
        except BaseException:  # such as a signal
            stop.set()
            futures.wait([writing], timeout=_STOP_SECONDS)
            raise
        yield from map(SideOutput, failures)

    def _write(self, batch: ShardBatch, stop: threading.Event) -> list[AnnotationFailure]:
        began, job = time.monotonic(), self._job_here()
        writing = _BatchWriting(self.config, job, job.teachers[batch.teacher])
        with writing.open.publishing(_log) as scratch:
            opened = writing.opened(batch.shards, functools.partial(self._open, scratch))
            prompts = missing_prompts(opened)
            first = next(prompts, None)
            if first is not None:
                writing.write(itertools.chain([first], prompts), stop)
        if writing.texts and not stop.is_set():
            counts: dict[str, Any] = {"texts": writing.texts, "tokens": writing.tokens}
            counts |= WorkTime.on(writing.mesh, time.monotonic() - began).to_json()
            files.write_json(self.work / WRITTEN / f"{secrets.token_hex(8)}.json", counts)
        return writing.failures

    def _open(self, scratch: Any, teacher: AnnotationTeacher, index: int) -> OpenShard:
        return OpenShard(self._job_here(), teacher, index, self.config.gates, _log, scratch)

    def _job_here(self) -> AnnotationJob:
        """Return the job with the vocabulary; raise UserError if its folder is not here."""
        if not files.exists(self.job.folder.address / layout.JOB):
            raise UserError(
                f"{self.job.folder.address}: a Beam worker does not see this run; config.output "
                "must be in a bucket, or a folder that all workers see under the same path"
            )
        if not self.vocabulary:
            return self.job
        vocabulary = _vocabulary(self.work / layout.VOCABULARY, self.vocabulary)
        return dataclasses.replace(self.job, vocabulary=vocabulary)


class _BatchWriting:
    """The writing of one batch.

    Attributes:
        open: the open shards.
        failures: rows and shards that failed.
        texts: number of explanations that were written.
        tokens: their tokens.
    """

    def __init__(self, config: AnnotateConfig, job: AnnotationJob, teacher: AnnotationTeacher):
        self._config, self._job, self._teacher = config, job, teacher
        self.open = OpenShards()
        self.failures: list[AnnotationFailure] = []
        self.texts = self.tokens = 0

    @property
    def mesh(self) -> Mesh | None:
        """The devices of the teacher; None for one on a server."""
        held = self._teacher.path is not None
        return sharding.make_mesh(self._config.mesh) if held else None

    def opened(
        self, shards: tuple[int, ...], open_shard: Callable[[AnnotationTeacher, int], OpenShard]
    ) -> Iterator[ClaimedShard]:
        """Yield the shards that lack explanations; note those that cannot be used."""
        for index in shards:
            try:
                shard = open_shard(self._teacher, index)
            except UserError as error:
                self._fail(index, self._teacher.kinds, "", str(error))
                continue
            if shard.complete:
                shard.finish()
                continue
            self.open[index] = shard
            yield shard

    def write(self, prompts: Iterator[ShardPrompt], stop: threading.Event) -> None:
        """Write explanations, and finish each shard with its last one; end soon after `stop`."""
        loaded = _kept.ready(self._config, self._teacher, self._job)
        written = write_explanations(self._config, self._teacher, loaded, prompts)
        with contextlib.closing(written):
            for shard, explanation in written:
                if explanation is not None:
                    self._count(shard.index, explanation)
                if shard.complete:
                    del self.open[shard.index]
                    shard.finish()
                if stop.is_set():
                    return

    def _count(self, index: int, explanation: GeneratedExplanation) -> None:
        self.texts += 1
        self.tokens += explanation.new_tokens
        if explanation.finish_reason == REFUSED:
            reason = explanation.details["refusal"]
            self._fail(index, (explanation.kind,), explanation.sample.id, reason)

    def _fail(self, shard: int, kinds: tuple[str, ...], id: str, reason: str) -> None:
        self.failures.append(AnnotationFailure(shard, kinds, id, reason))


class _KeptTeacher:
    """The teacher that this process has loaded, for all batches until another one is needed."""

    def __init__(self) -> None:
        self._key, self._open = "", contextlib.ExitStack()
        self._loaded: LoadedTeacher | None = None

    def ready(
        self, config: AnnotateConfig, teacher: AnnotationTeacher, job: AnnotationJob
    ) -> LoadedTeacher:
        """Return a teacher; load it unless it is the previous one. Call it in one thread."""
        key = repr((config, teacher, job.record.lengths))
        if self._loaded is None or key != self._key or teacher.path is None:
            self.close()  # first of all: this one needs the memory
            self._key = key
            if teacher.path is not None and not files.is_folder(teacher.path):
                raise UserError(
                    f"{teacher.path}: a Beam worker does not see this teacher; it must be in a "
                    "bucket, or in a folder that all workers see under the same path"
                )
            opening = open_teacher(config, teacher, job, _log.info, SlotCounts())
            self._loaded = self._open.enter_context(opening)
        return self._loaded

    def close(self) -> None:
        """Drop the teacher. Call it in the thread that loaded it, whose mesh it sets."""
        self._loaded = None
        self._open.close()


_kept = _KeptTeacher()


class _WritingThread:
    """A thread that calls functions one after the other; it ends with the process."""

    def __init__(self) -> None:
        self._calls = SimpleQueue[tuple[Callable[[], Any], futures.Future[Any]]]()
        threading.Thread(target=self._work, daemon=True).start()

    def call(self, function: Callable[[], Any]) -> futures.Future[Any]:
        """Call a function in the thread."""
        future = futures.Future[Any]()
        self._calls.put((function, future))
        return future

    def _work(self) -> None:
        while True:
            function, future = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)


@functools.cache
def _thread() -> _WritingThread:
    return _WritingThread()


@functools.cache
def _vocabulary(folder: epath.Path, digest: str) -> Vocabulary:
    """Open a worker's vocabulary once; another one in the same folder has another digest."""
    del digest
    return Vocabulary.load(folder)


@dataclasses.dataclass(frozen=True)
class FailureRecorder:
    """A stage that writes each failure to a file of its own in the scratch folder."""

    work: epath.Path

    def __call__(self, failure: AnnotationFailure) -> Iterator[Any]:
        """Write a failure; one that a retry repeats has the same file."""
        name = hashlib.sha256(repr(failure).encode()).hexdigest()
        files.write_json(self.work / FAILED / f"{name}.json", dataclasses.asdict(failure))
        yield from ()
