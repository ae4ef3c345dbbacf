"""The job that a run would plan or resume, without writing anything."""

import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord, shard_name
from teacherlm_jax.annotation.job.job_plan import AnnotationJob, PlanInputs, kinds_of
from teacherlm_jax.annotation.shards import shard_queue
from teacherlm_jax.annotation.shards.followed_shard import prompts_of
from teacherlm_jax.annotation.teachers import describe_teachers, digests
from teacherlm_jax.config import AnnotateConfig, fields
from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.data.sample import Sample, from_row
from teacherlm_jax.errors import MissingFile
from teacherlm_jax.runs import identity, layout, run_place
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

_SHARDS = 8  # most shards on disk from which prompts are taken
_FIRST = 3  # rows at the beginning of a source that are always among those of a preview

MissingKinds = tuple[Sample, Sequence[str]]  # a sample and the kinds that it lacks


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobPreview:
    """A job, and its remaining work.

    Attributes:
        job: the job.
        refused: reasons for refused rows, with a few places of each.
        present: explanations on disk by kind.
        prompts: prompts that are left, of the first rows and of a sample of the others, those of a
            row one after the other.
    """

    job: AnnotationJob
    refused: RefusedRows
    present: Mapping[str, int]
    prompts: Sequence[ExplanationPrompt]

    def left(self, kinds: Sequence[str]) -> int:
        """Return the number of missing explanations of some kinds."""
        return sum(self.job.record.rows - self.present[kind] for kind in kinds)

    @property
    def sampled_all(self) -> bool:
        """True if `prompts` are all remaining prompts."""
        return len(self.prompts) == self.left(self.job.kinds)


def preview_job(config: AnnotateConfig, log: logging.Logger, rows: int) -> JobPreview:
    """Return the job that a run with this config would begin or continue.

    Args:
        config: the config.
        log: gets the source's warnings.
        rows: maximum number of rows from which prompts are taken.

    Raises UserError where `job_plan.plan_job` does.
    """
    fields.check(config)
    teachers, vocabulary = describe_teachers(config)
    folder = JobFolder(run_place.check_address(config.output))
    settings = identity.flatten(dataclasses.asdict(config))
    paths = {key: settings[key] for key in path_keys(config)}
    identity.compare_inputs(folder.address, digests(teachers), paths)
    inputs = PlanInputs(config, folder, kinds_of(config), vocabulary, teachers)
    refused, new = RefusedRows(None, keep_places=True), RowSample(rows)
    before, record = _planned(inputs, refused, new, log)
    inputs.refuse_foreign_files(record)
    job = inputs.job(record)
    present = Counter(dict.fromkeys(job.kinds, 0))
    for (kind, _), count in shard_queue.on_disk(job).items():
        present[kind] += count
    lacking = _on_disk(folder, job.kinds, before, rows) if before else []
    lacking += [(from_row(row), job.kinds) for row in new.rows]
    prompts = list(_prompts(job, lacking[:rows]))
    return JobPreview(job=job, refused=refused, present=present, prompts=prompts)


def _planned(
    inputs: PlanInputs, refused: RefusedRows, new: "RowSample", log: logging.Logger
) -> tuple[JobRecord | None, JobRecord]:
    """Return the plan on record, if it counts, and the plan of the run; `new` gets new rows."""
    others = Workers(inputs.folder.address / layout.WORKERS, log.warning).others()
    before, current = inputs.on_record(others)
    if before is not None and current:
        _read_refused(inputs.folder, refused)
        return before, before
    record, _ = inputs.read_source(before, refused, log, new.add)
    return before, record


class RowSample:
    """The first rows of a stream, and a random sample of the others, the same one every time."""

    def __init__(self, size: int):
        """Keep at most `size` rows."""
        self.rows: list[dict[str, Any]] = []
        self._size, self._seen = size, 0
        self._random = random.Random(0)

    def add(self, index: int, rows: Iterable[dict[str, Any]]) -> None:
        """Add the rows of a shard."""
        for row in rows:
            self._seen += 1
            if len(self.rows) < self._size:
                self.rows.append(row)
            elif _FIRST <= (place := self._random.randrange(self._seen)) < self._size:
                self.rows[place] = row


def _read_refused(folder: JobFolder, refused: RefusedRows) -> None:
    """Count the refused rows that are listed in a run folder."""
    path = folder.address / layout.REFUSED
    for _, row in files.read_jsonl(path) if files.exists(path) else ():
        if not isinstance(row, files.MalformedRow):
            refused.refuse(row["file"], row["line"], row["reason"], None)


def _on_disk(
    folder: JobFolder, kinds: Sequence[str], record: JobRecord, rows: int
) -> list[MissingKinds]:
    """Return up to `rows` samples of planned shards with the kinds that they lack."""
    names = {kind: folder.complete_by_name(kind) for kind in kinds}
    unfinished = [
        index
        for index in range(len(record.shards))
        if any(shard_name(index) not in complete for complete, _ in names.values())
    ]
    step = max(1, len(unfinished) // _SHARDS)
    lacking: list[MissingKinds] = []
    for index in unfinished[::step][:_SHARDS]:
        ids = {kind: _ids(folder, kind, index, names[kind]) for kind in kinds}
        for sample in folder.read_shard(index):
            own = [kind for kind, there in ids.items() if not (there is None or sample.id in there)]
            if own and len(lacking) < rows:
                lacking.append((sample, own))
    return lacking


def _ids(
    folder: JobFolder, kind: str, index: int, names: tuple[set[str], set[str]]
) -> set[str] | None:
    """Return the ids of a shard's explanations of one kind; None if it is complete."""
    complete, partial = names
    name = shard_name(index)
    if name in complete:
        return None
    if f"{name}{files.PARTIAL}" not in partial:
        return set()
    path = folder.texts(kind, index).with_name(f"{name}{files.PARTIAL}")
    try:
        rows = [row for _, row in files.read_jsonl(path)]
    except MissingFile:  # another process has completed it since it was listed
        return None
    return {str(row.get("id")) for row in rows if not isinstance(row, files.MalformedRow)}


def _prompts(job: AnnotationJob, lacking: Sequence[MissingKinds]) -> Iterator[ExplanationPrompt]:
    samples = {sample.id: sample for sample, _ in lacking}
    missing = [(sample.id, kinds) for sample, kinds in lacking]
    return prompts_of(job, samples, job.kinds, missing)
