"""A shard that a worker has claimed: its samples, missing explanations and files."""

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.annotation import explained_rows
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, prompt_digest
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates.gates import GateInput, with_verdict
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards import duplicate_verdicts, finished_files, rejected_texts
from teacherlm_jax.annotation.shards.followed_shard import (
    MissingIds,
    TextEnds,
    gate_inputs,
    prompts_of,
)
from teacherlm_jax.annotation.shards.shards import Row, ShardTexts, read_rows
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import call_all
from teacherlm_jax.runs import distributed


class OpenShard:
    """The samples of a shard, and the files of the kinds that one teacher writes for it.

    Attributes:
        index: number of the shard.
        kinds: the kinds of the teacher.
    """

    def __init__(
        self,
        job: AnnotationJob,
        teacher: AnnotationTeacher,
        index: int,
        gates: Sequence[str],
        log: logging.Logger,
        scratch: Path,
    ):
        """Read the samples, and the explanations that earlier processes wrote.

        Raises UserError if one of them belongs to another job.
        """
        self.index, self.kinds = index, teacher.kinds
        self._job, self._gates = job, gates
        self._samples = {sample.id: sample for sample in job.folder.read_shard(index)}
        ids = tuple(self._samples)
        self._texts = {
            kind: ShardTexts(
                job.folder.texts(kind, index),
                ids,
                functools.partial(self._fault, teacher, kind),
                log,
                scratch,
                explained_rows.is_explanation,
                judged_later=answer_check.NAME in gates,
                final=functools.partial(
                    rejected_texts.keep_aside, job.folder.rejected(kind, index)
                ),
            )
            for kind in teacher.kinds
        }
        for kind, texts in self._texts.items():
            if texts.complete:
                self._count(kind)

    @property
    def complete(self) -> bool:
        """Return whether all explanations of the teacher's kinds are written and judged."""
        return all(texts.complete for texts in self._texts.values())

    @property
    def present(self) -> dict[str, int]:
        """Number of explanations written, for each of the teacher's kinds."""
        return {kind: len(texts) for kind, texts in self._texts.items()}

    def missing_ids(self) -> MissingIds:
        """Return the samples that lack explanations, with the kinds that they lack."""
        lacking = (
            (id, [kind for kind, texts in self._texts.items() if not texts.has(id)])
            for id in self._samples
        )
        return [(id, kinds) for id, kinds in lacking if kinds]

    def missing(self) -> Iterator[ExplanationPrompt]:
        """Yield the prompts of all missing explanations, sample by sample."""
        yield from prompts_of(self._job, self._samples, self.kinds, self.missing_ids())

    def add(self, row: Row) -> bool:
        """Write one explanation; return whether it completed the shard."""
        if self._texts[row["kind"]].add(row):
            self._count(row["kind"])
        return self.complete

    def unjudged_kinds(self) -> list[str]:
        """Return the kinds whose explanations are all there, but lack verdicts by the teacher."""
        return [kind for kind, texts in self._texts.items() if texts.unjudged is not None]

    def unjudged(self, kind: str) -> list[GateInput]:
        """Return the explanations of such a kind, in all processes that share the teacher."""
        rows = self._texts[kind].unjudged or ()
        texts: TextEnds = distributed.of_first(
            lambda: [(row["text"], row["finish_reason"]) for row in rows]
        )
        return gate_inputs(self._samples.values(), kind, texts)

    def judge(self, kind: str, found: Sequence[bool | None]) -> None:
        """Complete such a kind with the verdicts of the gate `answer_check`; None: no verdict.

        All explanations of a kind are judged together, so a verdict does not depend on when they
        were written.
        """
        texts = self._texts[kind]
        judged = [
            {**row, "gates": with_verdict(self._gates, row["gates"], answer_check.NAME, verdict)}
            for row, verdict in zip(texts.unjudged or (), found, strict=True)
        ]
        texts.finish(judged)
        self._count(kind)

    def publish(self) -> None:
        """Upload the partial files of a shard in a bucket."""
        call_all(texts.publish for texts in self._texts.values())

    def close(self) -> None:
        """Publish and close the partial files."""
        call_all(texts.close for texts in self._texts.values())

    def finish(self) -> bool:
        """Write the annotated samples once all kinds are complete; return whether they are.

        A file with the right content is not written again.
        """
        folder, rows = self._job.folder, dict[str, Sequence[Row]]()
        for kind in self._job.kinds:
            found = read_rows(folder.texts(kind, self.index), tuple(self._samples))
            if found is None:
                return False
            rows[kind] = found
        finished_files.write_samples(folder, self.index, self._samples.values(), rows)
        return True

    def _count(self, kind: str) -> None:
        """Write the figures of a complete file, and its sketches for the gate `not_duplicate`."""
        folder = self._job.folder
        rows = read_rows(folder.texts(kind, self.index), tuple(self._samples)) or []
        if duplicate_verdicts.NAME in self._gates:
            duplicate_verdicts.write_sketches(folder, kind, self.index, rows)
        finished_files.write_counts(folder, kind, self.index, self._gates, rows)

    def _fault(self, teacher: AnnotationTeacher, kind: str, row: Mapping[str, Any]) -> str:
        sample = self._samples[row["id"]]
        return fault(teacher.of(kind), sample, kind, row, self._job.subject_prefix)


def fault(
    teacher: AnnotationTeacher,
    sample: Sample,
    kind: str,
    row: Mapping[str, Any],
    subject_prefix: bool,
) -> str:
    """Return why an explanation does not belong to a job; empty if it does.

    It does if the same model wrote it for the same prompt. All other settings are fixed by the run
    folder's config.
    """
    if row.get("model_digest") != teacher.digest:
        return (
            f"was written by {row.get('teacher')} at step {row.get('step')} "
            f"({row.get('model_digest')}), but {teacher.name} is now at step {teacher.step} "
            f"({teacher.digest}); name the checkpoint that wrote it, or choose another "
            "config.output"
        )
    digest = prompt_digest(sample, kind, subject_prefix)
    if row.get("prompt_digest") != digest:
        return (
            f"was written for another prompt (digest {row.get('prompt_digest')}) than the "
            f"source gives now ({digest}, prompt version {prompts.PROMPT_VERSION}); restore "
            "the rows of the source, or choose another config.output"
        )
    return ""
