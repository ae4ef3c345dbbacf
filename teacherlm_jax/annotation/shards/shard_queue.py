"""Unfinished shards, which processes claim one by one, and counts of explanations on disk."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from teacherlm_jax.annotation.job.job_files import shard_name
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.errors import MissingFile
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

_LIST_SECONDS = 10.0  # between two listings of the files that other processes have finished


class ShardQueue:
    """The unfinished shards of a job; other processes claim and finish some of them.

    Between two listings of the folder, a complete shard is passed once and not for every
    claim, so that the time for a claim does not grow with the number of shards.
    """

    def __init__(self, job: AnnotationJob, claims: ShardClaims):
        self._job, self._claims = job, claims
        self._counted: dict[str, set[int]] = {}
        self._rows = Counter[str]()  # of the shards in `_counted`, by kind
        self._first = dict[tuple[str, ...], int]()  # shard that may need a teacher, by its kinds
        # Shards and kinds of a teacher that found another teacher's file damaged; see `release`.
        self._vain = set[tuple[int, tuple[str, ...]]]()
        self._listed = 0.0  # time of the last listing of the folder
        self._list()

    def in_progress(self) -> bool:
        """Return whether shards are unfinished, or claimed by other processes that are alive.

        Such a process may still write the samples of a finished shard, which lack the verdicts of
        gates that compare all explanations. Those verdicts are added when no shard is in progress.
        Claims on shards of new rows, which this job does not have, do not count.
        """
        if self.unfinished():
            return True
        shards = range(len(self._job.record.shards))
        return any(_shard_of(claim) in shards for claim in self._claims.held_by_others())

    def unfinished(self) -> list[int]:
        """Return the shards whose annotated samples are missing."""
        self._list()
        done = self._counted[layout.SAMPLES]
        return [index for index in range(len(self._job.record.shards)) if index not in done]

    def claim(self, teacher: AnnotationTeacher) -> int | None:
        """Claim the next shard that lacks something a teacher writes, or only its samples.

        Returns None if there is no such shard, or others work on all of them.
        """
        if time.monotonic() - self._listed < _LIST_SECONDS:
            index = self._claim(teacher)
            if index is not None:
                return index
        self._list()
        return self._claim(teacher)

    def release(self, index: int, teacher: AnnotationTeacher, finished: bool) -> None:
        """Release a claim, when the explanations, and perhaps the samples, are written.

        If the samples are not `finished` although all kinds seem complete, a file of another
        teacher is damaged. This teacher does not claim the shard again only for its samples.
        """
        for part in (*teacher.kinds, *((layout.SAMPLES,) if finished else ())):
            if index not in self._counted[part]:
                self._counted[part].add(index)
                self._rows[part] += self._job.record.shards[index]
        if not finished and all(index in self._counted[kind] for kind in self._job.kinds):
            self._vain.add((index, teacher.kinds))
        self._claims.release(claim_name(index, teacher.kinds))  # of the first process

    def counted_rows(self) -> Counter[str]:
        """Return the number of explanations in complete files by kind, as of the last listing."""
        return Counter({kind: self._rows[kind] for kind in self._job.kinds})

    def _claim(self, teacher: AnnotationTeacher) -> int | None:
        held, shards = self._claims.held(), len(self._job.record.shards)
        first = self._first.get(teacher.kinds, 0)
        while first < shards and not self._needs(first, teacher):
            first += 1
        self._first[teacher.kinds] = first
        for index in range(first, shards):
            name = claim_name(index, teacher.kinds)
            if self._needs(index, teacher) and name not in held and self._claims.take(name):
                if self._still_needs(index, teacher):
                    return index
                self._claims.release(name)
        return None

    def _still_needs(self, index: int, teacher: AnnotationTeacher) -> bool:
        """Return whether a shard that this process has just claimed is still unfinished.

        Others may have finished it since the last listing. Once all shards are finished, one
        process adds verdicts to them, and no other may write their samples.
        """
        if not files.exists(self._job.folder.samples(index)):
            return True
        self._list()
        return self._needs(index, teacher)

    def _needs(self, index: int, teacher: AnnotationTeacher) -> bool:
        """Return whether a shard lacks something that a teacher writes, or only its samples."""
        if index in self._counted[layout.SAMPLES]:
            return False
        if any(index not in self._counted[kind] for kind in teacher.kinds):
            return True
        complete = all(index in self._counted[kind] for kind in self._job.kinds)
        return complete and (index, teacher.kinds) not in self._vain

    def _list(self) -> None:
        """List the complete files; those of this process are known without a listing."""
        rows = self._job.record.shards
        for part in (*self._job.kinds, layout.SAMPLES):
            if len(self._counted.get(part, ())) < len(rows):
                counted = self._job.folder.counted(part)
                # Others may have shards of rows that were added after this job was planned.
                self._counted[part] = {index for index in counted if index < len(rows)}
        for kind in self._job.kinds:
            self._rows[kind] = sum(rows[index] for index in self._counted[kind])
        self._first.clear()
        self._listed = time.monotonic()


def claim_name(index: int, kinds: Sequence[str]) -> str:
    """Return the name of the claim on a shard by a teacher that writes some kinds."""
    return f"part-{index:05d}.{'+'.join(kinds)}"


def _shard_of(claim: str) -> int:
    """Return the number of the shard of a claim with the name of `claim_name`."""
    return int(claim.partition(".")[0].removeprefix("part-"))


def on_disk(job: AnnotationJob) -> dict[tuple[str, int], int]:
    """Return the number of explanations in each existing file, by kind and shard.

    Complete files are not read, and lines of partial ones are counted.
    """
    return {(kind, index): rows for kind in job.kinds for index, rows in _rows_of(job, kind)}


def _rows_of(job: AnnotationJob, kind: str) -> Iterator[tuple[int, int]]:
    complete, partial = job.folder.complete_by_name(kind)
    for index, rows in enumerate(job.record.shards):
        name = shard_name(index)
        if name in complete:
            yield index, rows
        elif f"{name}{files.PARTIAL}" in partial:
            path = job.folder.texts(kind, index)
            try:
                content = files.read_bytes(path.with_name(f"{name}{files.PARTIAL}"))
            except MissingFile:  # another process has completed it since it was listed
                yield index, rows
            else:
                yield index, min(rows, content.count(b"\n"))
