"""The list of explanations that a server refused to write."""

from teacherlm_jax.annotation.endpoint.endpoint_client import REFUSED
from teacherlm_jax.annotation.job.job_files import shard_name
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.shards.shards import read_rows
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def write(job: AnnotationJob, run: Run, kind: str) -> None:
    """Write `KIND.refused.jsonl` with the samples without a text, and log the reasons.

    All explanations of the kind must be complete.
    """
    refused = RefusedRows(run.path / layout.refused(kind))
    try:
        for index, size in job.folder.counted(kind).items():
            figures = files.read_json(job.folder.counts(kind, index, size))
            if figures["finish_reasons"].get(REFUSED):
                _add(job, kind, index, refused)
    finally:
        refused.close()
        refused.report(run.log, kind)


def _add(job: AnnotationJob, kind: str, index: int, refused: RefusedRows) -> None:
    samples = job.folder.read_shard(index)
    rows = read_rows(job.folder.texts(kind, index), [sample.id for sample in samples])
    file = f"{layout.TEXTS}/{kind}/{shard_name(index)}"
    for line, (sample, row) in enumerate(zip(samples, rows or (), strict=True), start=1):
        if row["finish_reason"] == REFUSED:
            refused.refuse(file, line, row["refusal"], to_row(sample))
