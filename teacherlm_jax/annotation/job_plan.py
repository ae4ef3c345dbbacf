"""Everything about an annotation job that is known before a teacher is loaded."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.annotation import gates, shards
from teacherlm_jax.annotation.explanation_prompts import (
    ExplanationPrompt,
    encode_prompts,
    prompt_digest,
)
from teacherlm_jax.annotation.teachers import AnnotationTeacher, describe_teachers, digests
from teacherlm_jax.config import AnnotateConfig, fields
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS, Sample, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.texts import longest_prompt
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.sources.raw_rows import RowLocation
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotationJob:
    """The samples, teachers and shards of an annotation.

    Attributes:
        samples: samples to explain, by id, in the order of the source.
        kinds: kinds of explanations to write, in the order of `data.sample.KINDS`.
        teachers: the distinct teachers.
        shards: the ids of each shard; those on record first, then those of new rows.
        shard_list: file that records `shards`.
        refused: number of rows that are not annotated.
        vocabulary: vocabulary of all teachers.
        subject_prefix: whether prompts begin with the sample's subject.
        encoded: prompts of the new rows, by sample id, tokenized to check their length.
    """

    samples: dict[str, Sample]
    kinds: tuple[str, ...]
    teachers: tuple[AnnotationTeacher, ...]
    shards: list[tuple[str, ...]]
    shard_list: Path
    refused: int
    vocabulary: Vocabulary
    subject_prefix: bool
    encoded: dict[str, list[ExplanationPrompt]]

    def missing_prompts(self, on_disk: Callable[[str, str], bool]) -> list[ExplanationPrompt]:
        """Return the prompts of all missing explanations, sample by sample.

        Samples that are complete on disk are not tokenized, and no sample is tokenized twice.
        `on_disk` returns whether the explanation of a (kind, sample id) exists.
        """
        missing = {
            id: sample
            for id, sample in self.samples.items()
            if not all(on_disk(kind, id) for kind in self.kinds)
        }
        rest = [sample for id, sample in missing.items() if id not in self.encoded]
        later = encode_prompts(rest, self.kinds, self.vocabulary, self.subject_prefix)
        found = (self.encoded[id] if id in self.encoded else next(later) for id in missing)
        return [p for own in found for p in own if not on_disk(p.kind, p.sample.id)]

    def record(self) -> None:
        """Write the ids of all shards to disk, so that a later invocation keeps them."""
        shards.write_shard_list(self.shard_list, self.shards)

    def fault(self, kind: str, row: Mapping[str, Any]) -> str:
        """Return why an explanation on disk does not belong to this job; empty if it does.

        It does if the same model wrote it for the same prompt. All other settings are fixed by the
        run folder's config.
        """
        (teacher,) = (teacher for teacher in self.teachers if kind in teacher.kinds)
        if row.get("model_digest") != teacher.digest:
            return (
                f"was written by {row.get('teacher')} at step {row.get('step')} "
                f"({row.get('model_digest')}), but {teacher.name} is now at step {teacher.step} "
                f"({teacher.digest}); name the checkpoint that wrote it, or choose another "
                "config.output"
            )
        digest = prompt_digest(self.samples[row["id"]], kind, self.subject_prefix)
        if row.get("prompt_digest") != digest:
            return (
                f"was written for another prompt (digest {row.get('prompt_digest')}) than the "
                f"source gives now ({digest}, prompt version {prompts.PROMPT_VERSION}); restore "
                "the rows of the source, or choose another config.output"
            )
        return ""


def plan_job(config: AnnotateConfig, run: Run) -> AnnotationJob:
    """Read the source and describe the teachers.

    Rows that cannot be read, and samples whose prompt is too long, go to `refused.jsonl` in the run
    folder. Rows on record keep their shards; rows that were added to the source since get new ones.

    Raises UserError for an invalid config, if no sample is left, if a sample on record is missing
    from the source, if vocabularies differ, if a gate cannot judge a sample, and if a sample has
    been explained before.
    """
    fields.check(config)
    teachers, vocabulary = describe_teachers(config)
    run.check_inputs(digests(teachers))
    kinds = tuple(kind for kind in KINDS if getattr(config.teachers, kind))
    shard_list = run.path / layout.SHARD_LIST
    recorded = shards.read_shard_list(shard_list)
    refused = RefusedRows(run.path / layout.REFUSED)
    try:
        rows = _read(config, refused, vocabulary, run.log)
        samples, encoded = _accepted(config, rows, kinds, vocabulary, teachers, recorded, refused)
    finally:
        refused.close()
        refused.report(run.log)
    if recorded and encoded:
        run.log.info("new rows in the source: %d; they are annotated too", len(encoded))
    return AnnotationJob(
        samples=samples,
        kinds=kinds,
        teachers=teachers,
        shards=[*recorded, *shards.split_into_shards(list(encoded), config.rows_per_shard)],
        shard_list=shard_list,
        refused=refused.total,
        vocabulary=vocabulary,
        subject_prefix=config.subject_prefix,
        encoded=encoded,
    )


def _accepted(
    config: AnnotateConfig,
    rows: Sequence[tuple[RowLocation, Sample]],
    kinds: Sequence[str],
    vocabulary: Vocabulary,
    teachers: Sequence[AnnotationTeacher],
    recorded: Sequence[Sequence[str]],
    refused: RefusedRows,
) -> tuple[dict[str, Sample], dict[str, list[ExplanationPrompt]]]:
    """Return all samples of the job by id, and the prompts of those that are not on record."""
    samples = {sample.id: sample for _, sample in rows}
    _refuse_explained(config, kinds, samples.values())
    gates.require_usable(config.gates, samples.values())
    _refuse_missing(config, recorded, samples)
    known = {id for ids in recorded for id in ids}
    new = [(location, sample) for location, sample in rows if sample.id not in known]
    longest = _longest(config, teachers)
    encoded = _encode_new(config, new, kinds, vocabulary, longest, refused)
    if not known and not encoded:
        every = encode_prompts(samples.values(), kinds, vocabulary, config.subject_prefix)
        shortest = min(max(len(prompt.tokens) for prompt in own) for own in every)
        raise UserError(
            f"{config.source.path}: all prompts have more tokens than {longest[1]}; "
            f"{_make_room(config, teachers, shortest)}"
        )
    return {id: s for id, s in samples.items() if id in known or id in encoded}, encoded


def _read(
    config: AnnotateConfig, refused: RefusedRows, vocabulary: Vocabulary, log: logging.Logger
) -> list[tuple[RowLocation, Sample]]:
    source = SourceReading(config.source, config.root, config.seed)
    rows = list(source.first(refused, vocabulary=vocabulary))
    for warning in source.warnings:
        log.warning("%s: %s", config.source.name, warning)
    return rows


def _longest(config: AnnotateConfig, teachers: Iterable[AnnotationTeacher]) -> tuple[int, str]:
    """Return the most tokens of a prompt (0: any number), and the reason for a longer one."""
    limits = [(config.prompt_length, f"config.prompt_length={config.prompt_length}")]
    for teacher in teachers:
        limit = longest_prompt(teacher.max_positions, config.sampling)
        reason = (
            f"the {limit} that {teacher.max_positions} learned positions leave with "
            f"config.sampling.max_new_tokens={config.sampling.max_new_tokens}"
        )
        limits.append((limit, reason))
    return min(((limit, reason) for limit, reason in limits if limit), default=(0, ""))


def _make_room(config: AnnotateConfig, teachers: Iterable[AnnotationTeacher], tokens: int) -> str:
    """Return the settings to change so that a prompt of so many tokens is accepted."""
    changes = []
    if 0 < config.prompt_length < tokens:
        changes.append(f"raise config.prompt_length to {tokens} or more")
    positions = min((t.max_positions for t in teachers if t.max_positions), default=0)
    if positions and positions <= tokens:
        return "choose another source, or a teacher with more learned positions"
    if positions and positions - config.sampling.max_new_tokens < tokens:
        changes.append(f"lower config.sampling.max_new_tokens to {positions - tokens} or less")
    return f"{' and '.join(changes)}, or choose another source"


def _encode_new(
    config: AnnotateConfig,
    rows: Sequence[tuple[RowLocation, Sample]],
    kinds: Sequence[str],
    vocabulary: Vocabulary,
    longest: tuple[int, str],
    refused: RefusedRows,
) -> dict[str, list[ExplanationPrompt]]:
    """Return the prompts of rows by sample id; rows with longer ones than `longest` are refused."""
    limit, reason = longest
    accepted = {}
    every = encode_prompts((s for _, s in rows), kinds, vocabulary, config.subject_prefix)
    for (location, sample), encoded in zip(rows, every, strict=True):
        length = max(len(prompt.tokens) for prompt in encoded)
        if limit and length > limit:
            why = f"the prompt of {sample.id!r} has {length} tokens, more than {reason}"
            refused.refuse(location.file, location.line, why, to_row(sample))
        else:
            accepted[sample.id] = encoded
    return accepted


def _refuse_missing(
    config: AnnotateConfig, recorded: Sequence[Sequence[str]], samples: Mapping[str, Sample]
) -> None:
    """Raise UserError if a sample on record was removed from the source."""
    missing = [id for ids in recorded for id in ids if id not in samples]
    if missing:
        raise UserError(
            f"{config.source.path}: lacks {len(missing)} of this job's samples, for example "
            f"{missing[0]}; restore their rows, or choose another config.output"
        )


def _refuse_explained(
    config: AnnotateConfig, kinds: Sequence[str], samples: Iterable[Sample]
) -> None:
    """Raise UserError if a new explanation would replace another, or the verdicts of another.

    Verdicts are kept by kind, for one author only.
    """
    for sample in samples:
        for kind in kinds:
            if annotated := sample.annotations.get(kind):
                existing = f"an annotated {kind} by {annotated['author']!r}"
                remedy = "annotate the data from before that annotation"
            elif config.author in sample.explanations.get(kind, {}):
                existing, remedy = f"a {kind} by {config.author!r}", "choose another config.author"
            else:
                continue
            if len(kinds) > 1:  # a job of no kind is refused
                remedy += f", or leave config.teachers.{kind} empty"
            raise UserError(
                f"{config.source.path}: sample {sample.id} already has {existing}, which this job "
                f"would replace; {remedy}"
            )
