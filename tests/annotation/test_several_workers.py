"""Processes that annotate together, are killed and join again: the same bytes as one process."""

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import stub_teacher
from teacherlm_jax.annotation.explained_rows import KindCounts
from teacherlm_jax.annotation.session import AnnotationSession
from teacherlm_jax.annotation.shards import duplicate_verdicts
from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.annotation.shards.shard_queue import ShardQueue
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import read_status
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

ROOT = Path(stub_teacher.__file__).parents[1]
ROWS, SECONDS = 150, 0.03  # for each text
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return {config!r}
"""


@pytest.fixture(scope="module")
def together(make_config, teachers, tmp_path_factory):
    """Settings of a job, and a file with them for processes."""
    folder = tmp_path_factory.mktemp("together")
    rows = [to_row(sample) for sample in synthetic.generate(ROWS, seed=4)]
    files.write_jsonl(folder / "samples.jsonl", rows)
    config = dataclasses.replace(
        make_config(cot=teachers[0], mistake=teachers[1]),
        root=str(folder),
        rows_per_shard=5,
        gates=("answer_check", "finished", "not_empty", "not_duplicate"),
        attempts=2,
    )
    (folder / "config.py").write_text(CONFIG.format(config=config))
    return config, folder / "config.py"


@pytest.fixture(scope="module")
def alone(together, tmp_path_factory):
    """The files that one process writes."""
    output = str(tmp_path_factory.mktemp("alone") / "run")
    with pytest.MonkeyPatch.context() as patch:
        stub_teacher.install(patch=patch.setattr)
        verbs.run("annotate", dataclasses.replace(together[0], output=output))
    return _contents(output)


def _contents(output):
    """Return the bytes of all files of texts and samples, by path."""
    folders = [f"{part}/{kind}" for part in ("texts", "rejected") for kind in ("cot", "mistake")]
    return {
        f"{folder}/{name}": files.read_bytes(StoragePath(output) / folder / name)
        for folder in (*folders, "samples")
        for name in files.names(StoragePath(output) / folder)
    }


def _output(together, output, number):
    """Return the file with what one process prints."""
    return together[1].parent / f"{Path(output).parent.name}-{number}.out"


def _start(together, output, number):
    command = [sys.executable, "-m", "benchmarks.stub_teacher", str(SECONDS), "annotate"]
    with _output(together, output, number).open("w") as out:
        return subprocess.Popen(
            [*command, f"--config={together[1]}", f"--config.output={output}"],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _killed_and_joined(together, output, workers, kills):
    """Run processes until the job is finished; kill some of them and start others."""
    draw = random.Random(2)
    processes = [_start(together, output, number) for number in range(workers)]
    started, result = workers, StoragePath(output) / "result.json"
    began, looks = time.monotonic(), []
    end = began + 200
    while not result.exists():
        assert time.monotonic() < end, "the job does not end"
        time.sleep(0.2)
        if (StoragePath(output) / "config.json").exists():  # until then, it is not a run folder yet
            looks.append(read_status(RunFiles(StoragePath(output))))
        names = "".join(files.names(StoragePath(output) / "workers"))
        at_work = [p for p in processes if f"-{p.pid}-" in names and p.poll() is None]
        began = began if at_work else time.monotonic()
        enough = len(at_work) >= 2 or time.monotonic() - began > 2  # others start slowly
        if kills and at_work and enough and files.names(StoragePath(output) / "claims"):
            time.sleep(draw.uniform(0, 0.5))
            victim = draw.choice(at_work)
            victim.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
            victim.wait()
            kills -= 1
            processes.append(_start(together, output, started))
            started += 1
    for process in processes:
        process.wait(max(60, end - time.monotonic()))
    assert not kills, "the job ended too early"
    assert [fault for look in looks for fault in look.faults] == []
    working = [look.progress.figures for look in looks if look.state.name == "running"]
    assert any(figures and figures["shards"]["claimed"] for figures in working)
    assert read_status(RunFiles(StoragePath(output))).progress.figures["explanations"] == 2 * ROWS
    return [process.returncode for process in processes]


def _check(together, output, alone, statuses):
    terminated = {128 + signal.SIGTERM, -signal.SIGTERM}  # while it works, and before that
    failed = {
        number: _output(together, output, number).read_text()
        for number, status in enumerate(statuses)
        if status not in {0, -signal.SIGKILL, *terminated}
    }
    assert failed == {}, "\n".join(failed.values())
    assert _contents(output) == alone
    assert 0 in statuses
    result = files.read_json(StoragePath(output) / "result.json")
    assert (result["rows"], result["kinds"]["cot"]["count"]) == (ROWS, ROWS)
    assert files.names(StoragePath(output) / "claims") == []


def test_four_processes_on_a_disk_write_the_bytes_of_one(together, alone, tmp_path):
    output = str(tmp_path / "run")
    statuses = _killed_and_joined(together, output, workers=4, kills=3)
    _check(together, output, alone, statuses)
    logs = [name for name in os.listdir(output) if name.startswith("log")]
    assert len(logs) >= 4
    shown = "".join((tmp_path / "run" / name).read_text() for name in logs)
    assert re.search(r"\d other workers? (is|are) at work in this folder", shown)


def test_two_processes_in_a_bucket_write_the_bytes_of_one(together, alone, bucket):
    output = f"{bucket}/run"
    statuses = _killed_and_joined(together, output, workers=2, kills=2)
    _check(together, output, alone, statuses)


def test_verdicts_on_all_texts_wait_for_a_process_that_still_holds_a_shard(
    together, alone, tmp_path, monkeypatch
):
    output, released = StoragePath(tmp_path / "run"), threading.Event()
    workers = Workers(output / layout.WORKERS, print)
    claims = ShardClaims(output / layout.CLAIMS, workers)

    def wait_for(folder, count):
        end = time.monotonic() + 100
        while len(files.names(folder)) < count:
            assert time.monotonic() < end, f"{folder} has fewer than {count} files"
            time.sleep(0.02)

    def hold_a_shard():
        wait_for(output / layout.WORKERS, 1)
        workers.join()
        try:
            assert claims.take("part-00000.slow")
            wait_for(output / layout.COUNTS / layout.SAMPLES, ROWS // 5)
            assert polls.acquire(timeout=100) and polls.acquire(timeout=100)
            released.set()
        finally:
            claims.release_all()
            workers.leave()

    in_progress, polls = ShardQueue.in_progress, threading.Semaphore(0)

    def polled(queue):
        found = in_progress(queue)
        if found and not queue.unfinished():
            polls.release()
        return found

    monkeypatch.setattr(ShardQueue, "in_progress", polled)
    record, began_after = duplicate_verdicts.record, []

    def recorded(*job):
        began_after.append(released.is_set())
        return record(*job)

    monkeypatch.setattr(duplicate_verdicts, "record", recorded)
    stub_teacher.install(patch=monkeypatch.setattr)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(hold_a_shard)
        verbs.run("annotate", dataclasses.replace(together[0], output=str(output)))
        slow.result()
    assert began_after == [True]
    assert _contents(str(output)) == alone


def test_figures_of_a_process_that_was_killed_while_it_replaced_a_file_do_not_count(
    together, tmp_path, monkeypatch
):
    config = dataclasses.replace(together[0], output=str(tmp_path / "run"), gates=("finished",))
    work = AnnotationSession.work

    def and_old_figures(session, job):
        work(session, job)
        files.write_json(job.folder.counts("cot", 0, 99_999), KindCounts(()).to_json())

    monkeypatch.setattr(AnnotationSession, "work", and_old_figures)
    stub_teacher.install(patch=monkeypatch.setattr)
    assert verbs.run("annotate", config)["kinds"]["cot"]["count"] == ROWS
