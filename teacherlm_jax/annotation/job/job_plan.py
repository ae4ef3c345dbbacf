"""Everything about an annotation job that is known before a teacher is loaded."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from teacherlm_jax.annotation.job import planned_rows
from teacherlm_jax.annotation.job.acceptance import PromptLimit, all_too_long, prompt_limit
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord, shard_name
from teacherlm_jax.annotation.teachers import AnnotationTeacher, describe_teachers, digests
from teacherlm_jax.config import AnnotateConfig, fields
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import int8
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources.raw_rows import open_rows
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotationJob:
    """The samples, teachers and shards of an annotation.

    Attributes:
        folder: names of the job's files.
        record: number of rows of each shard, refused rows, and lengths of the prompts.
        kinds: kinds of explanations to write, in the order of `data.sample.KINDS`.
        teachers: the distinct teachers.
        vocabulary: vocabulary of the teachers whose models are loaded; None if there are none.
        subject_prefix: whether prompts begin with the sample's subject.
    """

    folder: JobFolder
    record: JobRecord
    kinds: tuple[str, ...]
    teachers: tuple[AnnotationTeacher, ...]
    vocabulary: Vocabulary | None
    subject_prefix: bool

    @property
    def total(self) -> int:
        """Number of explanations."""
        return self.record.rows * len(self.kinds)


def plan_job(config: AnnotateConfig, run: Run) -> AnnotationJob:
    """Describe the teachers, and read the source unless it is unchanged since the last time.

    Samples are written to `shards/`, and the plan to `job.json`. Rows that cannot be read, and
    samples whose prompt is too long, go to `refused.jsonl` in the run folder. Samples on record
    keep their shards; those that were added to the source since get new ones. Until the first
    explanation is on disk, changed settings or rows make a new plan.

    Raises UserError for an invalid config, if no sample is left, if a sample on record changed or
    is missing from the source, if vocabularies differ, if a gate cannot judge a sample, and if a
    sample has been explained before.
    """
    fields.check(config)
    if config.weights:
        int8.require_qwix()
    teachers, vocabulary = describe_teachers(config)
    run.check_inputs(digests(teachers))
    inputs = PlanInputs(config, JobFolder(run.address), kinds_of(config), vocabulary, teachers)
    return inputs.job(_of_first(functools.partial(_recorded, inputs, run)))


def kinds_of(config: AnnotateConfig) -> tuple[str, ...]:
    """Return the kinds of explanations that have a teacher, in the order of `KINDS`."""
    return tuple(kind for kind in KINDS if getattr(config.teachers, kind))


def current(job: AnnotationJob) -> AnnotationJob:
    """Return the job with the plan that is now on record."""
    record = _of_first(lambda: job.folder.read_record() or job.record)
    return dataclasses.replace(job, record=record)


def _of_first(make: Callable[[], JobRecord]) -> JobRecord:
    """Return the plan that the first process makes in all processes that share a model."""
    return JobRecord.from_json(distributed.of_first(lambda: make().to_json()))


def _recorded(inputs: "PlanInputs", run: Run) -> JobRecord:
    """Return the plan on record if it is current; else make it, or extend it, and record it."""
    folder = inputs.folder
    before, current = inputs.on_record(run.workers.others())
    if before is None:
        exchange.remove(folder.address / layout.SHARDS)
    if before is not None and current:
        record = before
    else:
        record = _read(inputs, run, before)
        folder.write_record(record)
    inputs.refuse_foreign_files(record)
    folder.forget_changed(inputs.kinds)
    return record


def _read(inputs: "PlanInputs", run: Run, before: JobRecord | None) -> JobRecord:
    """Return the plan of the source, whose samples are written."""
    refused = RefusedRows(run.path / layout.REFUSED)
    try:
        record, new = inputs.read_source(before, refused, run.log)
    finally:
        refused.close()
        refused.report(run.log)
    if before and new:
        run.log.info("new rows in the source: %d; they are annotated too", new)
    return record


@dataclasses.dataclass(frozen=True)
class PlanInputs:
    """The settings, teachers and folder that a plan is made from; nothing here writes files.

    The exception is `read_source` without `store`, which writes new shards.
    """

    config: AnnotateConfig
    folder: JobFolder
    kinds: tuple[str, ...]
    vocabulary: Vocabulary | None
    teachers: tuple[AnnotationTeacher, ...]

    def job(self, record: JobRecord) -> AnnotationJob:
        """Return the job of a plan."""
        return AnnotationJob(
            folder=self.folder,
            record=record,
            kinds=self.kinds,
            teachers=self.teachers,
            vocabulary=self.vocabulary,
            subject_prefix=self.config.subject_prefix,
        )

    @functools.cached_property
    def limit(self) -> PromptLimit:
        """The longest prompt."""
        return prompt_limit(self.config, self.teachers)

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that decide the rows and their prompts."""
        return planned_rows.settings_of(self.config, self.kinds, self.vocabulary, self.limit)

    def on_record(self, others: Sequence[str]) -> tuple[JobRecord | None, bool]:
        """Return the plan on record, and whether it is current.

        `others` are processes at work in the folder. Without them, a plan that is not current is
        None as long as no explanation is on disk: another one replaces it.
        """
        before = self.folder.read_record()
        begun = files.is_folder(self.folder.address / layout.TEXTS)
        if begun:
            _require_own(self.folder, before)
        if before and before.settings == self.settings:
            now = planned_rows.described(open_rows(self.config.source, self.config.root))
            if now == before.source:
                return before, True
        return (before if begun or others else None), False

    def read_source(
        self,
        before: JobRecord | None,
        refused: RefusedRows,
        log: logging.Logger,
        store: planned_rows.StoreShard | None = None,
    ) -> tuple[JobRecord, int]:
        """Read the source in one pass; return the plan, and the number of new rows.

        Args:
            before: the plan to extend.
            refused: gets the rows that cannot be used.
            log: gets the source's warnings.
            store: gets new shards; None: they are written.
        """
        rows_pass = planned_rows.RowsPass(
            *(self.config, self.kinds, self.vocabulary, self.limit, self.folder, store)
        )
        rows, record = rows_pass.run(before, refused, log)
        if not record.shards:
            raise all_too_long(self.config, self.teachers, rows_pass.shortest)
        source = planned_rows.described(rows)
        record = dataclasses.replace(record, source=source, settings=self.settings)
        return record, rows_pass.new

    def refuse_foreign_files(self, record: JobRecord) -> None:
        """Raise UserError for a file of explanations that is not of a shard of the plan."""
        for kind in self.kinds:
            _refuse_foreign_files(self.folder, kind, len(record.shards))


def _require_own(folder: JobFolder, record: JobRecord | None) -> None:
    """Raise UserError for explanations without a plan, or for prompts of another version."""
    path = folder.address / layout.JOB
    if record is None:
        raise UserError(
            f"{path}: no such file, but {folder.address} has explanations; restore it, or choose "
            "another config.output"
        )
    if (version := record.settings.get("prompt_version")) != prompts.PROMPT_VERSION:
        raise UserError(
            f"{path}: prompt version {version}, but this package writes version "
            f"{prompts.PROMPT_VERSION}; choose another config.output"
        )


def _refuse_foreign_files(folder: JobFolder, kind: str, shards: int) -> None:
    """Raise UserError for a file of explanations that is not of one of the shards on record."""
    expected = {shard_name(index) for index in range(shards)}
    complete, partial = folder.complete_by_name(kind)
    for name in sorted(complete | partial):
        if name.removesuffix(files.PARTIAL) not in expected:
            raise UserError(
                f"{folder.address / layout.TEXTS / kind / name}: not a shard of this job, which "
                f"has {shards} on record; restore the run folder, or choose another config.output"
            )
