"""What an annotation job will write, known beforehand: samples, prompts, shards, teachers."""

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.annotation import gates, shards
from teacherlm_jax.checkpoints import fingerprint, store
from teacherlm_jax.config import AnnotateConfig, fields
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import KINDS, Sample, SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.sources import reading
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Task:
    """One explanation to be written, with its prompt in tokens."""

    sample: Sample
    kind: str
    tokens: tuple[int, ...]

    @property
    def prompt_digest(self) -> str:
        """Names the prompt: 16 hexadecimal digits of the SHA-256 of its tokens."""
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model that writes explanations.

    Attributes:
        name: run folder or checkpoint, as the config has it.
        checkpoint: the one that is meant; a run folder may get newer ones.
        step: updates it has had.
        digest: of its parameters.
        kinds: of the explanations that it writes.
    """

    name: str
    checkpoint: Path
    step: int
    digest: str
    kinds: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is decided before a teacher is loaded.

    Attributes:
        samples: by id, in the order of the data.
        kinds: to be written, in the order of `data.sample.KINDS`.
        teachers: each distinct one, once.
        shards: the ids of each shard.
        prompt_length: longest prompt that the engine must take, in tokens.
        refused: rows of the data that are not annotated.
        vocabulary: of all teachers.
        subject_prefix: whether prompts begin with the sample's subject.
    """

    samples: dict[str, Sample]
    kinds: tuple[str, ...]
    teachers: tuple[Teacher, ...]
    shards: list[tuple[str, ...]]
    prompt_length: int
    refused: int
    vocabulary: Vocabulary
    subject_prefix: bool

    def tasks(self, kinds: Sequence[str]) -> Iterator[Task]:
        """The explanations of these kinds, sample by sample."""
        for sample in self.samples.values():
            for kind in kinds:
                yield self._task(sample, kind)

    def fault(self, kind: str, row: Mapping[str, Any]) -> str:
        """Why an explanation on disk is not of this job; empty when it is.

        It is when the same teacher wrote it for the same prompt; the run folder's config settles
        all else.
        """
        (teacher,) = (teacher for teacher in self.teachers if kind in teacher.kinds)
        if row.get("model_digest") != teacher.digest:
            return (
                f"was written by {row.get('teacher')} at step {row.get('step')} "
                f"({row.get('model_digest')}), and {teacher.name} is at step {teacher.step} "
                f"({teacher.digest}); name the checkpoint that wrote it, or choose another "
                "config.output"
            )
        wanted = self._task(self.samples[row["id"]], kind).prompt_digest
        if row.get("prompt_digest") != wanted:
            return (
                f"was written for another prompt (digest {row.get('prompt_digest')}) than the data "
                f"give now ({wanted}, prompt version {prompts.PROMPT_VERSION}); put the data back "
                "as they were, or choose another config.output"
            )
        return ""

    def _task(self, sample: Sample, kind: str) -> Task:
        tokens = prompt_tokens(sample, kind, self.vocabulary, self.subject_prefix)
        return Task(sample, kind, tokens)


def prompt_tokens(
    sample: Sample, kind: str, vocabulary: Vocabulary, subject_prefix: bool
) -> tuple[int, ...]:
    """A teacher's prompt in the tokens that training gave it, with what begins every text."""
    pieces = prompts.explanation_pieces(sample, kind, subject_prefix)
    return tuple(packing.encode_prompt(pieces, vocabulary))


def make_plan(config: AnnotateConfig, run: Run) -> Plan:
    """Reads the data and the teachers' vocabularies.

    Rows that cannot be read, and samples with too long a prompt, go to `refused.jsonl` in the run
    folder. Raises UserError for a config that cannot be used, when no sample is left, when
    vocabularies differ, when a gate cannot judge a sample, and when a sample is explained already.
    """
    fields.check(config)
    teachers, vocabulary = _teachers(config)
    kinds = tuple(kind for kind in KINDS if getattr(config.teachers, kind))
    refused = RefusedRows(run.path / layout.REFUSED)
    try:
        samples, longest = _samples(config, kinds, vocabulary, refused)
    finally:
        refused.close()
    refused.report(run.log)
    _refuse_explained(config, kinds, samples.values())
    gates.require_usable(config.gates, samples.values())
    return Plan(
        samples=samples,
        kinds=kinds,
        teachers=teachers,
        shards=shards.cut(list(samples), config.rows_per_shard),
        prompt_length=longest,
        refused=refused.total,
        vocabulary=vocabulary,
        subject_prefix=config.subject_prefix,
    )


def _teachers(config: AnnotateConfig) -> tuple[tuple[Teacher, ...], Vocabulary]:
    """The teachers and the vocabulary of all of them, without loading any parameters."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        if name := getattr(config.teachers, kind):
            by_name[str(Path(name))].append(kind)
    found = [_opened(name, tuple(kinds)) for name, kinds in by_name.items()]
    first, common = found[0]
    for teacher, vocabulary in found:
        if vocabulary.digest != common.digest:
            raise UserError(
                f"config.teachers: {first.name} has the vocabulary {common.digest}, {teacher.name} "
                f"has {vocabulary.digest}; teachers of one job must share theirs: give each a job"
            )
    return tuple(teacher for teacher, _ in found), common


def _opened(name: str, kinds: tuple[str, ...]) -> tuple[Teacher, Vocabulary]:
    checkpoints, step = store.open_checkpoint(name)
    meta = checkpoints.meta(step)
    vocabulary = store.load_vocabulary(checkpoints.run, meta["vocabulary"])
    checkpoints.close()
    teacher = Teacher(
        name=name,
        checkpoint=checkpoints.path(step),
        step=step,
        digest=fingerprint.digest(meta["parameters"]),
        kinds=kinds,
    )
    return teacher, vocabulary


def _samples(
    config: AnnotateConfig,
    kinds: Sequence[str],
    vocabulary: Vocabulary,
    refused: RefusedRows,
) -> tuple[dict[str, Sample], int]:
    """The samples whose prompts fit, by id, and the length that all prompts fit in."""
    longest = 0

    def fits(sample: Sample) -> None:
        nonlocal longest
        prompts_of_it = (
            prompt_tokens(sample, kind, vocabulary, config.subject_prefix) for kind in kinds
        )
        length = max(map(len, prompts_of_it))
        if config.prompt_length and length > config.prompt_length:
            raise SampleError(
                f"prompt longer than config.prompt_length={config.prompt_length} tokens"
            )
        longest = max(longest, length)

    found = reading.read_samples(
        config.source, config.root, refused, usable=fits, seed=config.seed, vocabulary=vocabulary
    )
    samples = {sample.id: sample for sample in found}
    return samples, config.prompt_length or longest


def _refuse_explained(
    config: AnnotateConfig, kinds: Sequence[str], samples: Iterable[Sample]
) -> None:
    """Raises UserError where a new explanation would take the place of another, or of its verdicts.

    Verdicts are kept by kind, one author's each.
    """
    for sample in samples:
        for kind in kinds:
            if annotated := sample.annotations.get(kind):
                found = f"an annotated {kind}, by {annotated['author']!r}"
                way_out = "annotate the data as they were before that"
            elif config.author in sample.explanations.get(kind, {}):
                found, way_out = f"a {kind} by {config.author!r}", "choose another config.author"
            else:
                continue
            raise UserError(
                f"{config.source.path}: sample {sample.id} has {found}, which this job would "
                f"replace; {way_out}, or leave config.teachers.{kind} empty"
            )
