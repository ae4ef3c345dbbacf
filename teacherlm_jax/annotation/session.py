"""The work of one process on an annotation job: claimed shards, one teacher after the other."""

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from teacherlm_jax import sharding
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.interruptible import interruptible
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.loaded_teacher import open_teacher
from teacherlm_jax.annotation.progress import AnnotationProgress
from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.annotation.shards.followed_shard import FollowedShard, MissingIds
from teacherlm_jax.annotation.shards.open_shard import OpenShard
from teacherlm_jax.annotation.shards.open_shards import OpenShards
from teacherlm_jax.annotation.shards.shard_queue import ShardQueue
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.annotation.work_time import Stopwatch
from teacherlm_jax.annotation.worker import (
    ClaimedShard,
    ShardPrompt,
    missing_prompts,
    write_explanations,
)
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError, at_end
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage.repeated import Repeated

_REPORT_SECONDS = 10.0  # between two lines about the progress
_KEEP_SECONDS = 30.0  # between two times that the time of work is written down
_POLL_SECONDS = 2.0  # between two looks at shards that other processes work on


class AnnotationSession:
    """The work of one process on a job: claimed shards, teachers one after the other.

    Attributes:
        progress: counts of explanations.
        stopwatch: time of its work.
    """

    def __init__(
        self,
        config: AnnotateConfig,
        run: Run,
        job: AnnotationJob,
        present: Mapping[tuple[str, int], int],
    ):
        """Write nothing yet; `present` is the number of rows in each file of explanations."""
        by_kind = Counter[str]()
        for (kind, _), rows in present.items():
            by_kind[kind] += rows
        self.progress = AnnotationProgress(run.log, job.total, job.kinds, by_kind)
        self.stopwatch = Stopwatch(run.address)
        self._config, self._run, self._present = config, run, dict(present)
        self._claims = ShardClaims(run.address / layout.CLAIMS, run.workers)
        self._open = OpenShards()
        self._scratch = Path()

    def in_progress(self, job: AnnotationJob) -> bool:
        """Return whether a job has unfinished shards, or shards that others work on."""
        return _in_progress(ShardQueue(job, self._claims))

    def work(self, job: AnnotationJob) -> None:
        """Write shards until all are finished, by this process or by others."""
        self.progress.total = job.total
        queue = ShardQueue(job, self._claims)
        with self._interruptible(), self.stopwatch.running():
            while _in_progress(queue):
                alone = self._alone()  # before it tries: what another process left then is free
                worked = [self._write_by(teacher, job, queue) for teacher in job.teachers]
                if any(worked):
                    continue
                if alone and self._alone() and _in_progress(queue):
                    raise UserError(
                        f"{self._run.path / layout.TEXTS}: a file changed since it was written; "
                        "repeat the command"
                    )
                time.sleep(_POLL_SECONDS)

    def _alone(self) -> bool:
        """Return whether no other process is at work in the folder."""
        return distributed.of_first(lambda: not self._run.workers.others())

    def _write_by(self, teacher: AnnotationTeacher, job: AnnotationJob, queue: ShardQueue) -> bool:
        """Write the missing explanations of a teacher; return whether it could claim a shard."""
        claimed: list[int] = []
        prompts = missing_prompts(self._shards(teacher, job, queue, claimed))
        first = next(prompts, None)
        if first is not None:
            self._generate(teacher, job, queue, first, prompts)
            gc.collect()  # the next teacher needs the memory
        return bool(claimed)

    def _shards(
        self, teacher: AnnotationTeacher, job: AnnotationJob, queue: ShardQueue, claimed: list[int]
    ) -> Iterator[ClaimedShard]:
        """Claim shards one by one; yield those that lack explanations."""
        while (index := distributed.of_first(lambda: queue.claim(teacher))) is not None:
            claimed[:] = [index]
            shard = self._opened(job, teacher, index)
            if shard.complete:
                queue.release(index, teacher, shard.finish())
                continue
            self._open[index] = shard
            done = queue.counted_rows()
            for shard in self._open.values():
                done.update(shard.present)
            self.progress.at_least(done)
            yield shard

    def _opened(self, job: AnnotationJob, teacher: AnnotationTeacher, index: int) -> ClaimedShard:
        """Open a shard, which only the first of several processes with one model writes."""
        opened: list[OpenShard] = []

        def open_here() -> tuple[MissingIds, Sequence[str]]:
            shard = OpenShard(
                *(job, teacher, index, self._config.gates, self._run.log, self._scratch)
            )
            opened.append(shard)
            self._correct(shard)
            return shard.missing_ids(), shard.unjudged_kinds()

        missing, unjudged = distributed.of_first(open_here)
        if opened:
            return opened[0]
        judged_later = answer_check.NAME in self._config.gates
        return FollowedShard(job, teacher, index, missing, unjudged, judged_later)

    def _correct(self, shard: OpenShard) -> None:
        """Correct the number of explanations on disk after reading them."""
        for kind, rows in shard.present.items():
            self.progress.correct(kind, rows - self._present.pop((kind, shard.index), 0))

    def _generate(
        self,
        teacher: AnnotationTeacher,
        job: AnnotationJob,
        queue: ShardQueue,
        first: ShardPrompt,
        others: Iterator[ShardPrompt],
    ) -> None:
        """Load a teacher and let it write explanations."""

        def prompts() -> Iterator[ShardPrompt]:
            yield first
            yield from others

        config, say = self._config, self._run.log.info
        if teacher.path is not None:
            self.stopwatch.mesh = sharding.make_mesh(config.mesh)
        with open_teacher(config, teacher, job, say, self.progress.slots) as loaded:
            judged = self.progress.add_answers_found
            written = write_explanations(config, teacher, loaded, prompts(), judged)
            for shard, explanation in written:
                if explanation is not None:
                    self.progress.add(explanation)
                if shard.complete:
                    del self._open[shard.index]
                    queue.release(shard.index, teacher, shard.finish())

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Close the shards at the end of the block; a stop signal raises Interrupted."""

        def state() -> str:
            return (
                f"{self.progress.done} of {self.progress.total} explanations in {self._run.address}"
            )

        with interruptible(state), self._publishing():
            yield

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[None]:
        """Publish partial files and report at intervals and at the end; release all claims."""
        with contextlib.ExitStack() as closing:
            closing.callback(self._claims.release_all)
            self._scratch = closing.enter_context(self._open.publishing(self._run.log))
            closing.enter_context(at_end(self._keep_time))
            for seconds, work in (
                (_REPORT_SECONDS, self.progress.report),
                (_KEEP_SECONDS, self._keep_time),
            ):
                closing.callback(Repeated(seconds, work, self._run.log.warning).end)
            yield

    def _keep_time(self) -> None:
        """Record the working time once this process has written an explanation."""
        if self.progress.written and distributed.is_first():
            self.stopwatch.keep()


def _in_progress(queue: ShardQueue) -> bool:
    """Return in all processes whether the first one finds shards in progress."""
    return distributed.of_first(queue.in_progress)
