"""Shards that are not finished, which processes claim one by one, and counts of what is on disk."""

from collections.abc import Iterator, Sequence

from teacherlm_jax.annotation.claims import ShardClaims
from teacherlm_jax.annotation.job_files import PARTIAL, shard_name
from teacherlm_jax.annotation.job_plan import AnnotationJob
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files


class ShardQueue:
    """The unfinished shards of a job; other processes claim and finish some of them."""

    def __init__(self, job: AnnotationJob, claims: ShardClaims):
        self._job, self._claims = job, claims
        self._counted: dict[str, set[int]] = {part: set() for part in (*job.kinds, layout.SAMPLES)}

    def unfinished(self) -> list[int]:
        """Return the shards whose annotated samples are not there."""
        done = self._counted_now(layout.SAMPLES)
        return [index for index in range(len(self._job.record.shards)) if index not in done]

    def claim(self, teacher: AnnotationTeacher) -> int | None:
        """Claim the next shard that lacks something a teacher writes, or only its samples.

        Returns None if there is no such shard, or others work on all of them.
        """
        unfinished = self.unfinished()
        if not unfinished:
            return None
        own = [self._counted_now(kind) for kind in teacher.kinds]
        every = [self._counted_now(kind) for kind in self._job.kinds]
        held = self._claims.held()
        for index in unfinished:
            name = claim_name(index, teacher.kinds)
            lacks = any(index not in counted for counted in own)
            wanted = lacks or all(index in counted for counted in every)
            if wanted and name not in held and self._claims.take(name):
                return index
        return None

    def release(self, index: int, teacher: AnnotationTeacher) -> None:
        """Give a claim back."""
        self._claims.release(claim_name(index, teacher.kinds))

    def counted_rows(self) -> int:
        """Return the number of explanations in complete files, as of the last claim."""
        rows = self._job.record.shards
        return sum(rows[index] for kind in self._job.kinds for index in self._counted[kind])

    def _counted_now(self, part: str) -> set[int]:
        if len(self._counted[part]) < len(self._job.record.shards):
            self._counted[part] = set(self._job.folder.counted(part))
        return self._counted[part]


def claim_name(index: int, kinds: Sequence[str]) -> str:
    """Return the name of the claim on a shard by a teacher that writes some kinds."""
    return f"part-{index:05d}.{'+'.join(kinds)}"


def on_disk(job: AnnotationJob) -> dict[tuple[str, int], int]:
    """Return the number of explanations in each file that is there, by kind and shard.

    Complete files are not read, and lines of partial ones are counted.
    """
    return {(kind, index): rows for kind in job.kinds for index, rows in _rows_of(job, kind)}


def _rows_of(job: AnnotationJob, kind: str) -> Iterator[tuple[int, int]]:
    complete, partial = job.folder.complete_by_name(kind)
    for index, rows in enumerate(job.record.shards):
        name = shard_name(index)
        if name in complete:
            yield index, rows
        elif f"{name}{PARTIAL}" in partial:
            path = job.folder.texts(kind, index)
            content = files.read_bytes(path.with_name(f"{name}{PARTIAL}"))
            yield index, min(rows, content.count(b"\n"))
