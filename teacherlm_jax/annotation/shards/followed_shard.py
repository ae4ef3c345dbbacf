"""A claimed shard in a process that works with others on one model and writes nothing.

The processes of a slice run the same programs on the same prompts; the first one writes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, encode_prompts
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards.shards import Row
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.runs import distributed

MissingIds = Sequence[tuple[str, Sequence[str]]]  # ids of samples, with the kinds that they lack
TextEnds = Sequence[tuple[str, str]]  # texts, with their finish reasons


class FollowedShard:
    """The samples of a shard, and what another process says is missing.

    Attributes:
        index: number of the shard.
        kinds: the kinds of the teacher.
        present: always empty: the first process counts the explanations on disk.
    """

    present: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self,
        job: AnnotationJob,
        teacher: AnnotationTeacher,
        index: int,
        missing: MissingIds,
        unjudged: Sequence[str],
        judged_later: bool,
    ):
        """Receive what the first process has read.

        Args:
            job: the job.
            teacher: the teacher.
            index: number of the shard.
            missing: missing explanations.
            unjudged: kinds with all explanations, which lack verdicts of the teacher.
            judged_later: whether a kind is judged after its last explanation.
        """
        self.index, self.kinds = index, teacher.kinds
        self._job, self._missing, self._judged_later = job, missing, judged_later
        self._left = Counter(kind for _, kinds in missing for kind in kinds)
        self._unjudged = set(unjudged)

    @property
    def complete(self) -> bool:
        """Return whether all explanations were generated and judged."""
        return not self._left.total() and not self._unjudged

    def missing(self) -> Iterator[ExplanationPrompt]:
        """Yield the prompts of all missing explanations, sample by sample."""
        samples = {sample.id: sample for sample in self._job.folder.read_shard(self.index)}
        yield from prompts_of(self._job, samples, self.kinds, self._missing)

    def add(self, row: Row) -> bool:
        """Count one explanation; return whether it completed the shard."""
        kind = row["kind"]
        self._left[kind] -= 1
        if self._judged_later and not self._left[kind]:
            self._unjudged.add(kind)
        return self.complete

    def unjudged_kinds(self) -> list[str]:
        """Return the kinds whose explanations are all there, but lack verdicts by the teacher."""
        return [kind for kind in self.kinds if kind in self._unjudged]

    def unjudged(self, kind: str) -> list[GateInput]:
        """Return the explanations of such a kind, which the first process has."""
        texts: TextEnds = distributed.of_first(lambda: None)
        return gate_inputs(self._job.folder.read_shard(self.index), kind, texts)

    def judge(self, kind: str, found: Sequence[bool | None]) -> None:
        """Note that a kind has verdicts, which the first process writes."""
        self._unjudged.remove(kind)

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
    """Yield the prompts of missing explanations, sample by sample.

    The plan of the job tokenized them, too, and kept only their lengths: the token ids of a large
    dataset would fill a disk, and tokenizing a prompt takes little time beside generating from it.
    """
    lacking = [samples[id] for id, _ in missing]
    encoded = encode_prompts(lacking, kinds, job.vocabulary, job.subject_prefix)
    for (_, wanted), own in zip(missing, encoded, strict=True):
        yield from (prompt for prompt in own if prompt.kind in wanted)


def gate_inputs(samples: Iterable[Sample], kind: str, texts: TextEnds) -> list[GateInput]:
    """Return explanations of one kind as gates take them."""
    return [
        GateInput(sample=sample, kind=kind, text=text, finish_reason=reason)
        for sample, (text, reason) in zip(samples, texts, strict=True)
    ]
