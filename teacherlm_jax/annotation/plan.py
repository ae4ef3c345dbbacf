"""What an annotation job will write, known beforehand: samples, prompts, shards, teachers."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from teacherlm_jax import checkpoint, files
from teacherlm_jax.annotation import gates, shards
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data import formats, prompts
from teacherlm_jax.data.sample import KINDS, Sample, to_row
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.errors import UserError
from teacherlm_jax.run import Run


@dataclasses.dataclass(frozen=True)
class Task:
    """One explanation to be written, with its prompt in tokens."""

    sample: Sample
    kind: str
    tokens: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is decided before a teacher is loaded.

    Attributes:
        samples: by id, in the order of the data.
        kinds: to be written, in the order of `data.sample.KINDS`.
        teachers: run folder or checkpoint of each distinct teacher, and the kinds that it writes.
        shards: the ids of each shard.
        prompt_length: longest prompt that the engine must take, in tokens.
        refused: rows of the data that are not annotated.
    """

    samples: dict[str, Sample]
    kinds: tuple[str, ...]
    teachers: dict[str, tuple[str, ...]]
    shards: list[tuple[str, ...]]
    prompt_length: int
    refused: int
    vocabulary: Vocabulary
    subject_prefix: bool

    def tasks(self, kinds: Sequence[str]) -> Iterator[Task]:
        """The explanations of these kinds, sample by sample."""
        for sample in self.samples.values():
            for kind in kinds:
                tokens = prompt_tokens(sample, kind, self.vocabulary, self.subject_prefix)
                yield Task(sample, kind, tokens)


def prompt_tokens(
    sample: Sample, kind: str, vocabulary: Vocabulary, subject_prefix: bool
) -> tuple[int, ...]:
    """A teacher's prompt in the tokens that training gave it: piece by piece."""
    pieces = prompts.explanation_pieces(sample, kind, subject_prefix)
    return tuple(token for piece in pieces for token in vocabulary.encode(piece.text))


def make_plan(config: AnnotateConfig, run: Run) -> Plan:
    """Reads the data and the teachers' vocabularies.

    Rows that cannot be read, and samples with too long a prompt, go to `refused.jsonl` in the run
    folder. Raises UserError when that leaves nothing, when teachers' vocabularies differ, when no
    teacher is named, and for gates that are unknown or cannot judge these samples.
    """
    teachers = _teachers(config)
    vocabulary = _common_vocabulary(list(teachers))
    kinds = tuple(kind for kind in KINDS if getattr(config.teachers, kind))
    refused = files.RefusedRows(run.path / "refused.jsonl")
    try:
        samples, longest = _samples(config, kinds, vocabulary, refused)
    finally:
        refused.close()
    for reason, count in refused.counts.items():
        run.log.warning("%d rows refused: %s; see %s", count, reason, refused.path)
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


def _teachers(config: AnnotateConfig) -> dict[str, tuple[str, ...]]:
    by_folder: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        if folder := getattr(config.teachers, kind):
            by_folder[str(Path(folder))].append(kind)
    if not by_folder:
        raise UserError(
            "config.teachers: all empty; name a run folder, as in --config.teachers.cot=RUN"
        )
    return {folder: tuple(kinds) for folder, kinds in by_folder.items()}


def _common_vocabulary(teachers: Sequence[str]) -> Vocabulary:
    """The vocabulary of all teachers, found without loading their parameters."""
    found = {}
    for teacher in teachers:
        checkpoints, step = checkpoint.open_checkpoint(teacher)
        wanted = checkpoints.meta(step)["vocabulary"]
        found[teacher] = checkpoint.load_vocabulary(checkpoints.run, wanted)
        checkpoints.close()
    first = teachers[0]
    for teacher, vocabulary in found.items():
        if vocabulary.digest != found[first].digest:
            raise UserError(
                f"config.teachers: {first} has the vocabulary {found[first].digest}, {teacher} has "
                f"{vocabulary.digest}; teachers of one job must share theirs: give each a job"
            )
    return found[first]


def _samples(
    config: AnnotateConfig,
    kinds: Sequence[str],
    vocabulary: Vocabulary,
    refused: files.RefusedRows,
) -> tuple[dict[str, Sample], int]:
    """The samples whose prompts fit, by id, and the length that all prompts fit in."""
    samples, longest = {}, 0
    for sample in formats.read_samples(config.source, config.root, refused):
        length = max(
            len(prompt_tokens(sample, kind, vocabulary, config.subject_prefix)) for kind in kinds
        )
        if config.prompt_length and length > config.prompt_length:
            reason = f"prompt longer than config.prompt_length={config.prompt_length} tokens"
            refused.add(config.source.path, 0, reason, to_row(sample))
            continue
        samples[sample.id] = sample
        longest = max(longest, length)
    if not samples:
        raise UserError(
            f"config.prompt_length: {config.prompt_length} tokens are fewer than any prompt of "
            f"{config.source.path} has; give more, or 0 for the longest prompt's length"
        )
    return samples, config.prompt_length or longest
