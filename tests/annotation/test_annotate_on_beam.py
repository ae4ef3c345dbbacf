"""`annotate` on Beam: the same files as in one process, and a model that is loaded once."""

import dataclasses
import multiprocessing
import os
import signal
import threading
import time

import pytest

from teacherlm_jax.annotation import beam_worker, explain, job_on_beam
from teacherlm_jax.annotation.beam_worker import BatchWriter, ShardBatch
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.annotation.job import job as job_module
from teacherlm_jax.annotation.job.job_files import JobFolder
from teacherlm_jax.annotation.job.job_plan import plan_job
from teacherlm_jax.config import EndpointConfig, fields
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.generation import texts
from teacherlm_jax.runs import run_folder
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from tests.completions_server import CompletionsServer

from .beam_jobs import IN_MEMORY, PROCESSES, THREADS, annotate, contents

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")

pytestmark = pytest.mark.usefixtures("no_kept_teacher")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """One shard per batch."""
    monkeypatch.setattr(job_on_beam, "_TEXTS_PER_SLOT", 0)


@pytest.fixture
def config(make_config, teachers):
    """Settings of a job with two teachers and three shards."""
    return make_config(cot=teachers[0], mistake=teachers[1], fundamental=teachers[0])


def planned(config, output, work):
    """Plan a job; return it, and what writes its batches on a worker."""
    settings = dataclasses.replace(config, output=str(output))
    with run_folder.open_run(settings.output, "annotate", settings, shared=True) as run:
        job = plan_job(settings, run)
    job.vocabulary.save(work / "vocabulary")
    plain = dataclasses.replace(job, vocabulary=None)
    return job, BatchWriter(settings, plain, StoragePath(work), job.vocabulary.digest)


def same(result, other):
    """Return whether results, and the costs in them, are equal but for their times."""
    timed = {"texts", "seconds", "tokens_per_second", "costs"}
    spent = {"seconds", "chip_seconds"}
    pairs = ((result, other, timed), (result["costs"], other["costs"], spent))
    return all(
        {key: one[key] for key in one.keys() - left_out}
        == {key: another[key] for key in another.keys() - left_out}
        for one, another, left_out in pairs
    )


def test_processes_that_were_killed_and_start_again_write_the_bytes_of_one(
    make_config, teachers, tmp_path
):
    """A server writes chains of thought, and then a model the mistakes."""
    output, released = tmp_path / "beam", threading.Event()
    with CompletionsServer() as server:
        config = make_config(cot=server.teacher, mistake=teachers[0])
        config.rows_per_shard = 2
        config.endpoint = EndpointConfig(timeout=30.0, concurrency=1)
        server.hold = lambda server: len(server.asked) > 5 and released.wait(60)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=annotate, args=(config, output, PROCESSES))
        process.start()
        while process.is_alive() and len(server.asked) <= 5:
            time.sleep(0.1)
        process.kill()
        process.join()
        released.set()
        assert process.exitcode == -signal.SIGKILL
        assert list(output.glob("texts/cot/*.jsonl")) and not (output / "result.json").exists()
        asked = len(server.asked)
        result = annotate(config, output, PROCESSES)
        assert len(server.asked) < asked + 11, "texts on disk are not written again"
        expected = annotate(config, tmp_path / "alone")
    assert contents(output) == contents(tmp_path / "alone")
    assert len(list((output / "samples").iterdir())) == 6
    assert same(result, expected)
    assert 11 < result["texts"] < 22 and result["tokens_per_second"] > 0
    assert not (output / ".work").exists()


def test_each_teacher_is_loaded_once_for_all_batches_and_threads(
    config, tmp_path, stubbed, monkeypatch
):
    loaded, threads, opened = [], set(), beam_worker.open_teacher

    def open_teacher(config, teacher, *args):
        loaded.append(teacher.kinds)
        return opened(config, teacher, *args)

    def complete(*args, **settings):
        threads.add(threading.current_thread().name)
        return stubbed_complete(*args, **settings)

    stubbed_complete = explain.complete
    monkeypatch.setattr(beam_worker, "open_teacher", open_teacher)
    monkeypatch.setattr(explain, "complete", complete)
    annotate(config, tmp_path / "beam", THREADS)
    assert loaded == [("cot", "fundamental"), ("mistake",)], "one after the other"
    assert len(threads) == 1
    annotate(config, tmp_path / "alone")
    assert contents(tmp_path / "beam") == contents(tmp_path / "alone")


def test_programs_are_compiled_once_for_all_batches(make_config, teachers, tmp_path, monkeypatch):
    made, engine_of = [], texts.engine_of
    monkeypatch.setattr(texts, "engine_of", lambda *a, **k: made.append(0) or engine_of(*a, **k))
    annotate(make_config(cot=teachers[0]), tmp_path / "beam", IN_MEMORY)
    assert len(made) == 1


def failing(after, error, monkeypatch):
    """Let the stub fail once, after some texts."""
    complete, left = explain.complete, [after]

    def fails(*args, **settings):
        for completion in complete(*args, **settings):
            yield completion
            left[0] -= 1
            if left[0] == 0:
                raise error

    monkeypatch.setattr(explain, "complete", fails)


def test_a_run_that_failed_resumes_with_what_is_on_disk(config, tmp_path, stubbed, monkeypatch):
    annotate(config, tmp_path / "alone")
    output = tmp_path / "beam"
    with monkeypatch.context() as patch:
        failing(10, RuntimeError("the machine is gone"), patch)
        with pytest.raises(Exception, match="the machine is gone"):
            annotate(config, output, IN_MEMORY)
    assert not (output / "result.json").exists() and not (output / ".work").exists()
    partial = {path.name: path.read_text() for path in output.glob("texts/*/*.partial")}
    assert partial and len(list(output.glob("texts/*/*.jsonl"))) == 2
    result = annotate(config, output, IN_MEMORY)
    assert contents(output) == contents(tmp_path / "alone")
    assert result["texts"] == 33 - 10
    assert annotate(config, output, IN_MEMORY) == result, "nothing is left to do"


def test_a_batch_that_is_repeated_writes_nothing_again(config, tmp_path, stubbed):
    annotate(config, tmp_path / "alone")
    _, writer = planned(config, tmp_path / "beam", tmp_path / "work")
    for teacher in (0, 1):
        assert list(writer(ShardBatch(teacher, (0, 2)))) == []
    written = [*(tmp_path / "beam" / "samples").iterdir(), *tmp_path.glob("beam/texts/*/*")]
    before = {path: path.stat().st_mtime_ns for path in written}
    assert len(before) == 2 + 6 and len(files.names(tmp_path / "work" / "written")) == 2
    for teacher in (1, 0):
        assert list(writer(ShardBatch(teacher, (0, 2)))) == []
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert len(files.names(tmp_path / "work" / "written")) == 2
    annotate(config, tmp_path / "beam")  # without a runner
    assert contents(tmp_path / "beam") == contents(tmp_path / "alone")


def test_a_row_that_a_server_refuses_does_not_fail_its_batch(make_config, samples, tmp_path):
    refused = encode_prompts(samples, ["cot"], None, False)
    prompt = next(own[0].text for own in refused if own[0].sample.id == samples[6].id)
    with CompletionsServer() as server:
        server.cue = lambda number, body: "too long" if body["prompt"] == prompt else None
        config = make_config(cot=server.teacher)
        config.endpoint = EndpointConfig(timeout=30.0, concurrency=3)
        results = {
            name: annotate(config, tmp_path / name, options)
            for name, options in (("alone", None), ("beam", IN_MEMORY))
        }
    assert contents(tmp_path / "beam") == contents(tmp_path / "alone")
    assert same(results["beam"], results["alone"])
    ((_, listed),) = files.read_jsonl(tmp_path / "beam" / "cot.refused.jsonl")
    assert listed["row"]["id"] == samples[6].id
    log = (tmp_path / "beam" / "log.txt").read_text()
    assert f"refused: 1, for example the cot of {samples[6].id!r}: status 400" in log


def test_a_shard_that_cannot_be_used_leaves_the_others_finished(config, tmp_path, stubbed, capfd):
    output = tmp_path / "beam"
    planned(config, output, tmp_path / "work")
    shard = output / "shards" / "part-00001.jsonl"
    intact = shard.read_bytes()
    shard.write_bytes(b"{" + intact)
    with pytest.raises(UserError, match=r"part-00001.jsonl:1: .*shards that failed: 1 of 3; the"):
        annotate(config, output, IN_MEMORY)
    assert files.names(output / "samples") == ["part-00000.jsonl", "part-00002.jsonl"]
    shard.write_bytes(intact)
    assert annotate(config, output, IN_MEMORY)["texts"] == 12
    annotate(config, tmp_path / "alone")
    assert contents(output) == contents(tmp_path / "alone")


def test_a_signal_ends_the_run_with_what_is_on_disk(config, tmp_path, stubbed, monkeypatch):
    complete = explain.complete

    def stopped(*args, **settings):
        for number, completion in enumerate(complete(*args, **settings)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield completion

    with monkeypatch.context() as patch:
        patch.setattr(explain, "complete", stopped)
        with pytest.raises(Interrupted, match=r"SIGTERM: stopped with \d+ of 33 .*repeat"):
            annotate(config, tmp_path / "beam", IN_MEMORY)
    annotate(config, tmp_path / "alone")
    annotate(config, tmp_path / "beam")
    assert contents(tmp_path / "beam") == contents(tmp_path / "alone")


def test_a_run_in_a_bucket_has_the_same_bytes(config, tmp_path, bucket, stubbed, monkeypatch):
    annotate(config, tmp_path / "alone")
    run = StoragePath(f"{bucket}/run")
    with monkeypatch.context() as patch:
        failing(10, RuntimeError("the machine is gone"), patch)
        with pytest.raises(Exception, match="the machine is gone"):
            annotate(config, run, IN_MEMORY)
    assert annotate(config, run, IN_MEMORY)["texts"] == 33 - 10, "partial files were published"
    expected = {
        name: content
        for name, content in contents(tmp_path / "alone").items()
        if name.startswith(("texts/", "samples/", "shards/", "counts/"))
    }
    assert {name: files.read_bytes(run / name) for name in expected} == expected
    assert not files.is_folder(run / ".work")


def test_a_beam_job_does_not_work_beside_other_processes(config, tmp_path, stubbed):
    annotate(config, tmp_path / "run")
    other = Workers(StoragePath(tmp_path / "run" / "workers"), print)
    other.join()
    try:
        with pytest.raises(UserError, match=r"is at work in this folder \(workers: 1\); wait"):
            annotate(config, tmp_path / "run", IN_MEMORY)
    finally:
        other.leave()


def test_workers_that_do_not_see_run_or_teacher_are_reported(
    config, tmp_path, stubbed, monkeypatch, capfd
):
    def elsewhere(config, run):
        job = plan_job(config, run)
        gone = dataclasses.replace(job.teachers[0], path=StoragePath(tmp_path / "gone"))
        return dataclasses.replace(job, teachers=(gone, *job.teachers[1:]))

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "plan_job", elsewhere)
        with pytest.raises(UserError, match="gone: a Beam worker does not see this teacher; it"):
            annotate(config, tmp_path / "teacher", IN_MEMORY)
    assert capfd.readouterr().err == "", "without Beam's traceback"
    job, writer = planned(config, tmp_path / "run", tmp_path / "work")
    gone = dataclasses.replace(job, folder=JobFolder(StoragePath(tmp_path / "gone")))
    with pytest.raises(UserError, match="gone: a Beam worker does not see this run; config.output"):
        list(dataclasses.replace(writer, job=gone)(ShardBatch(0, (0,))))
    monkeypatch.setattr(Beam, "run_in_turn", lambda *args: None)
    with pytest.raises(UserError, match=r"part-00000.jsonl: DirectRunner finished but did not"):
        annotate(config, tmp_path / "nothing", IN_MEMORY)


def test_processes_that_share_models_and_options_without_a_runner_are_refused(
    config, tmp_path, monkeypatch
):
    with pytest.raises(UserError, match="beam_options: need a Beam runner; set one, as in"):
        fields.check(dataclasses.replace(config, beam_options=IN_MEMORY))
    monkeypatch.setattr(job_on_beam.distributed, "process_count", lambda: 2)
    with pytest.raises(UserError, match="2 processes that share models cannot use Beam; start one"):
        job_on_beam.open_beam(dataclasses.replace(config, runner="DirectRunner"))


def test_files_that_a_killed_worker_did_not_finish_are_not_read(tmp_path):
    files.write_json(tmp_path / "written" / "a.json", {"texts": 3})
    files.write_bytes(tmp_path / "written" / ".b.json.x", b'{"tex')
    assert job_on_beam._finished_batches(StoragePath(tmp_path)) == [{"texts": 3}]
