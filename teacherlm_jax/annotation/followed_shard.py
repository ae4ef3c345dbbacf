"""A claimed shard in a process that works with others on one model and writes nothing.

The processes of a slice run the same programs on the same prompts; the first one writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, encode_prompts
from teacherlm_jax.annotation.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards import Row
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.data.sample import Sample

MissingIds = Sequence[tuple[str, Sequence[str]]]  # ids of samples, with the kinds that they lack


class FollowedShard:
    """The samples of a shard, and what another process says is missing.

    Attributes:
        index: number of the shard.
        kinds: the kinds of the teacher.
        present: always empty: the first process counts what is there.
    """

    present: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self, job: AnnotationJob, teacher: AnnotationTeacher, index: int, missing: MissingIds
    ):
        self.index, self.kinds = index, teacher.kinds
        self._job, self._missing = job, missing
        self._left = sum(len(kinds) for _, kinds in missing)

    @property
    def complete(self) -> bool:
        """Return whether all explanations were generated."""
        return not self._left

    def missing(self) -> Iterator[ExplanationPrompt]:
        """Yield the prompts of all missing explanations, sample by sample."""
        samples = {sample.id: sample for sample in self._job.folder.read_shard(self.index)}
        yield from prompts_of(self._job, samples, self.kinds, self._missing)

    def add(self, row: Row) -> bool:
        """Count one explanation; return whether it was the last one."""
        self._left -= 1
        return self.complete

    def publish(self) -> None:
        """Do nothing: the first process publishes."""

    def close(self) -> None:
        """Do nothing: the first process has files."""

    def finish(self) -> bool:
        """Do nothing: the first process writes the samples."""
        return False


def prompts_of(
    job: AnnotationJob, samples: dict[str, Sample], kinds: Sequence[str], missing: MissingIds
) -> Iterator[ExplanationPrompt]:
    """Yield the prompts of missing explanations, sample by sample."""
    lacking = [samples[id] for id, _ in missing]
    encoded = encode_prompts(lacking, kinds, job.vocabulary, job.subject_prefix)
    for (_, wanted), own in zip(missing, encoded, strict=True):
        yield from (prompt for prompt in own if prompt.kind in wanted)
