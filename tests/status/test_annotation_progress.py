"""Progress of an annotation: shards, claims, gates, and the speed of its processes."""

import json
import logging

import pytest

from teacherlm_jax import config
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord
from teacherlm_jax.annotation.progress import AnnotationProgress
from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.status import status_text
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

KINDS = ("cot", "mistake")
SHARDS = (4, 4, 4, 2)


@pytest.fixture
def job(root, begin, command):
    """An annotation of four shards: the first is done, the second is half done."""
    command("annotate", "--config=mine.py")
    settings = config.AnnotateConfig(
        output=f"{root}/explained",
        source=config.SourceConfig("toys", "a.jsonl"),
        teachers=config.TeachersConfig(cot="runs/a", mistake="runs/b"),
    )
    with begin(settings, "annotate", shared=True):
        pass
    folder = JobFolder(StoragePath(settings.output))
    lengths = {kind: {7: 14} for kind in KINDS}
    record = JobRecord(source={}, settings={}, shards=SHARDS, refused=3, lengths=lengths)
    folder.write_record(record)
    for kind in KINDS:
        files.write_text(folder.texts(kind, 0), "{}\n" * 4)
        counts = {"count": 4, "all_gates": 2, "gates": {"finished": 3, "not_empty": 4},
                  "judged": {"finished": 4, "not_empty": 4}}  # fmt: skip
        files.write_json(folder.counts(kind, 0, 12), counts)
    files.write_text(folder.samples(0), "{}\n" * 4)
    files.write_json(folder.counts("samples", 0, 12), {"rows": 4})
    files.write_text(folder.address / "texts/cot/part-00001.jsonl.partial", "{}\n{}\n{half")
    return settings.output


def test_shards_explanations_and_gates_are_counted(job, status):
    seen = status(job)
    figures = seen.progress.figures
    assert figures["explanations"] == 4 + 2 + 4 and figures["total"] == 28
    assert figures["explanations_by_kind"] == {"cot": 6, "mistake": 4}
    assert figures["shards"] == {"done": 1, "claimed": 0, "total": 4, "left": 3}
    assert figures["gates"]["cot"] == {
        "count": 4,
        "all": 2,
        "passed": {"finished": 3, "not_empty": 4},
        "judged": {"finished": 4, "not_empty": 4},
    }
    text = status_text.block(seen)
    assert "10 of 28 explanations (35%)" in text
    assert "1 done, 0 claimed, 3 left of 4" in text
    assert "cot: 2 of 4 passed all, finished 3 of 4\n" in text
    assert "3 rows, listed in refused.jsonl" in text
    assert seen.next.command == "teacherlm annotate --config=mine.py"


def test_claims_of_processes_that_are_alive_count(job, status):
    address = StoragePath(job)
    workers = Workers(address / "workers", print, beat=100)
    claims = ShardClaims(address / "claims", workers)
    assert claims.take("part-00001.cot") and claims.take("part-00002.cot")
    assert claims.take("part-00001.mistake")  # the same shard
    assert status(job).progress.figures["shards"]["claimed"] == 0  # nobody is at work
    workers.join()
    seen = status(job)
    assert seen.state.name == "running"
    assert seen.progress.figures["shards"] == {"done": 1, "claimed": 2, "total": 4, "left": 1}
    workers.leave()


class Times:
    """A clock that tests set."""

    now = 0.0

    def monotonic(self):
        return self.now


def progress_line(monkeypatch, written, seconds, caplog):
    """Return the line that a process logs about its progress."""
    times = Times()
    monkeypatch.setattr("teacherlm_jax.annotation.progress.time", times)
    progress = AnnotationProgress(logging.getLogger("test.status"), 28, KINDS, {"cot": 6})
    times.now = seconds
    progress.slots.busy_steps = progress.slots.slot_steps = int(10 * seconds)
    for _ in range(written):
        progress._own["cot"] += 1
    with caplog.at_level(logging.INFO, "test.status"):
        progress.report()
    return caplog.records[-1].getMessage()


def test_speed_and_time_left_are_those_of_all_processes_together(job, status, monkeypatch, caplog):
    lines = {
        "log.txt": progress_line(monkeypatch, 2, 60, caplog),  # 20 left, 30 s each: 10 min
        "log-other.txt": progress_line(monkeypatch, 4, 60, caplog),  # 18 left, 15 s each: 4.5 min
    }
    assert "20 explanations" not in lines["log.txt"] and "tokens/s" in lines["log.txt"]
    for name, line in lines.items():
        files.write_text(f"{job}/{name}", f"2026-01-01 10:00:00,000 INFO {line}\n")
    figures = status(job).progress.figures
    assert figures["tokens_per_second"] == 20
    assert figures["seconds_left"] == pytest.approx(1 / (1 / 600 + 1 / 270), rel=0.1)


def test_a_damaged_plan_or_figure_is_named(job, status):
    folder = JobFolder(StoragePath(job))
    files.write_text(folder.counts("cot", 0, 12), "{half")
    seen = status(job)
    assert len(seen.faults) == 1 and "part-00000-12.json" in seen.faults[0]
    assert seen.progress.figures["explanations"] == 10
    files.write_json(folder.address / "job.json", {"format": 99})
    seen = status(job)
    assert len(seen.faults) == 1 and "job.json: not the plan of a job" in seen.faults[0]
    json.dumps(seen.to_json())


def test_a_job_whose_plan_is_not_written_yet_says_so(job, status):
    files.remove(f"{job}/job.json")
    assert "its plan is not known" in status_text.block(status(job))


def test_every_claim_of_a_living_process_counts_and_one_that_is_being_written_is_no_fault(
    job, status
):
    address = StoragePath(job)
    workers = Workers(address / "workers", print)
    workers.join()
    claims = ShardClaims(address / "claims", workers)
    assert claims.take("part-00001.cot")
    files.write_json(address / "claims" / "part-00001.cot.2", {"worker": "gone"})
    files.write_bytes(address / "claims" / "part-00002.cot.1", b"")
    seen = status(job)
    assert seen.progress.figures["shards"]["claimed"] == 1
    assert not seen.faults
    workers.leave()
