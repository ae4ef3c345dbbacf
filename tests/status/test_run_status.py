"""The status of runs of every kind, from their files alone."""

import json
import os
import re
import subprocess
import sys

import pytest

from teacherlm_jax.errors import StoreError
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.status import status_text
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from tests.status.made_runs import age, listing, log_steps, save, training


def test_a_run_at_work_shows_its_process_step_speed_loss_checkpoint_and_time_left(
    root, begin, status
):
    with begin(training(f"{root}/student")) as run:
        log_steps(run, 20, 40)
        save(run, 20)
        run.publish()
        seen = status(f"{root}/student")
    assert seen.state.name == "running"
    (holder,) = seen.state.at_work
    assert holder.name.endswith(f"process {os.getpid()}") and holder.age < 30
    figures = seen.progress.figures
    assert (figures["step"], figures["steps"]) == (40, 100)
    assert figures["tokens_per_second"] == 1200.0 and figures["loss"] == 2.5
    assert figures["seconds_left"] == pytest.approx(60 * 10.0 / 20)  # steps, by seconds per step
    assert figures["checkpoints"] == [20] and figures["checkpoint_age"] < 30
    assert seen.log[-1].endswith("step 40/100  loss 2.500")
    assert seen.next.command == f"teacherlm status {root}/student --watch"
    text = status_text.block(seen)
    assert f"{root}/student: train, running" in text
    assert re.search(r"; heartbeat \d+ s ago", text)
    assert "step 40 of 100 (40%), 1,200 tokens/s, mfu 0.41" in text
    assert "about 30 s" in text


def test_a_run_that_was_stopped_says_why_and_how_to_resume_it(stopped, status):
    seen = status(stopped)
    assert seen.state.name == "stopped" and not seen.state.at_work
    assert seen.state.reason == "SIGTERM: saved at step 40 of 100; repeat the command to resume"
    assert seen.next.purpose == "resume it"
    assert seen.next.command == "teacherlm train --config=mine.py"
    assert seen.progress.figures["checkpoints"] == [20, 40]


def test_a_run_that_failed_shows_its_error(failed, status):
    seen = status(failed)
    assert seen.state.name == "failed"
    assert seen.state.reason == "step 21: the loss is nan; train again"
    assert "correct the cause" in seen.next.purpose


def test_a_finished_run_has_no_time_left_and_a_next_command(finished, status):
    seen = status(finished)
    assert seen.state.name == "finished" and seen.state.reason == ""
    assert "seconds_left" not in seen.progress.figures
    assert seen.next.command == f"teacherlm convert {finished} FOLDER"


def test_a_run_that_is_resumed_is_running_again_although_its_log_has_an_error(
    failed, begin, status
):
    with begin(training(failed)) as run:
        run.log.info("resumed")
        run.publish()
        seen = status(failed)
        assert (seen.state.name, seen.state.reason, seen.starts) == ("running", "", 2)
    assert status(failed).state.name == "stopped"


KILLED = """
import os, sys
from teacherlm_jax.runs import run_folder
from tests.status.made_runs import log_steps, training
run = run_folder.open_run(sys.argv[1], "train", training(sys.argv[1]))
log_steps(run, 20)
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_is_stopped_at_once_on_its_machine(tmp_path, status):
    output = str(tmp_path / "killed")
    subprocess.run([sys.executable, "-c", KILLED, output], check=False, cwd=os.getcwd())
    seen = status(output)
    assert seen.state.name == "stopped"
    assert "it was killed" in seen.state.reason
    assert "gone, last heartbeat" in status_text.block(seen)


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_a_run_on_another_machine_is_alive_by_its_heartbeat(finished, begin, status, tmp_path):
    lock = tmp_path / "runs/good/.lock"
    lock.write_text("tpu-vm-3, process 12\nanother boot")
    assert status(finished).state.name == "running"
    age(lock, 100)
    assert status(finished).state.name == "finished"


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_the_error_of_another_process_counts_more_than_that_of_the_first(stopped, status):
    log = "2026-01-01 10:00:00,000 ERROR UserError: host 2 has no data; copy it\n"
    files.write_text(f"{stopped}/log-2.txt", log)
    seen = status(stopped)
    assert (seen.state.name, seen.state.reason) == (
        "failed",
        "process 2: host 2 has no data; copy it",
    )


def test_a_silent_run_at_work_and_a_failed_companion_are_noted(tmp_path, begin, status):
    output = str(tmp_path / "student")
    with begin(training(output)) as run:
        log_steps(run, 20)
        age(run.path / "log.txt", 3000)
        log = "2026-01-01 10:00:00,000 ERROR ValueError: broken\n"
        files.write_text(f"{output}/log-1.txt", log)
        notes = status(output).notes
    assert len(notes) == 2
    assert notes[0].startswith("log.txt has had no line for 50 min")
    assert notes[1] == "process 1 failed: ValueError: broken"


@pytest.mark.parametrize("name", ["config.json", "versions.json", "result.json"])
@pytest.mark.parametrize("content", ["{half", "[]", "", "\x00\xff"])
def test_a_damaged_file_is_named_and_the_rest_is_told(finished, status, name, content):
    files.write_text(f"{finished}/{name}", content)
    seen = status(finished)
    assert len(seen.faults) == 1 and seen.faults[0].startswith(f"{finished}/{name}")
    assert seen.state.name == "finished"
    assert seen.verb == "train"
    if name != "config.json":
        assert seen.progress.figures["step"] == 100
    assert f"damaged     {finished}/{name}" in status_text.block(seen)
    json.dumps(seen.to_json())


def test_damaged_lines_of_metrics_are_counted_and_half_a_line_at_the_end_is_none(stopped, status):
    path = StoragePath(f"{stopped}/metrics.jsonl")
    rows = path.read_bytes()
    path.write_bytes(b"nonsense\n" + rows + b'{"step": 60, "lo')
    seen = status(stopped)
    assert seen.progress.figures["step"] == 40
    assert seen.faults == (f"{path}: 1 of its last lines is not a JSON object",)


def test_numbers_of_the_wrong_kind_leave_the_state_known(stopped, status):
    path = StoragePath(f"{stopped}/metrics.jsonl")
    path.write_bytes(b'{"step": "x"}\n{"step": 5, "seconds": [1]}\n')
    content = files.read_json(f"{stopped}/config.json")
    content["config"]["steps"] = "many"
    files.write_json(f"{stopped}/config.json", content)
    seen = status(stopped)
    assert seen.state.name == "stopped" and seen.progress.figures["step"] == 5


def test_only_complete_checkpoints_in_a_bucket_are_shown(bucket, begin, status):
    with begin(training(f"{bucket}/student")) as run:
        save(run, 20)
        files.write_text(f"{bucket}/student/checkpoints/40/params/a", "half")
        assert status(f"{bucket}/student").progress.figures["checkpoints"] == [20]


def test_only_the_end_of_a_long_log_is_read(tmp_path, begin, status, monkeypatch):
    with begin(training(str(tmp_path / "student"))) as run:
        for step in range(3000):
            run.log.info("step %d/100  loss 2.500", step)
    seen = status(tmp_path / "student")
    assert seen.log[-1].endswith("step 2999/100  loss 2.500")


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_a_moved_run_is_resumed_where_it_is_now(tmp_path, stopped, status):
    (tmp_path / "runs/student").rename(tmp_path / "moved")
    command = status(tmp_path / "moved").next.command
    assert command == f"teacherlm train --config=mine.py --config.output={tmp_path / 'moved'}"


def test_the_working_directory_of_the_command_is_shown_where_it_is_another(
    stopped, status, tmp_path, monkeypatch
):
    assert status(stopped).next.directory == ""
    before = os.getcwd()
    monkeypatch.chdir(tmp_path)
    assert status(stopped).next.directory == before


def test_a_run_of_a_notebook_has_no_command_line(tmp_path, begin, status, command):
    command("-f", "kernel.json")
    with begin(training(str(tmp_path / "student"))):
        pass
    seen = status(tmp_path / "student")
    assert seen.next.command == "" and "repeat the call that started it" in seen.next.purpose


def test_several_processes_are_resumed_together(stopped, status):
    versions = files.read_json(f"{stopped}/versions.json")
    files.write_json(f"{stopped}/versions.json", versions | {"processes": 4})
    seen = status(stopped)
    assert "on 4 processes, through the launcher" in seen.next.purpose
    assert "4 work as one" in status_text.block(seen)


def test_nothing_of_a_run_changes_when_its_status_is_read(tmp_path, begin, status):
    with begin(training(str(tmp_path / "student"))) as run:
        log_steps(run, 20)
        before = listing(tmp_path)
        status(tmp_path / "student")
        assert listing(tmp_path) == before
        with pytest.raises(Exception, match="is using this folder"):
            begin(training(str(tmp_path / "student")))


def test_the_heartbeats_of_workers_count(tmp_path, begin, status):
    output = str(tmp_path / "shared")
    with begin(training(output)):
        pass
    workers = Workers(StoragePath(output) / "workers", print, beat=100)
    workers.join()
    seen = status(output)
    assert seen.state.name == "running" and len(seen.state.at_work) == 1
    workers.leave()
    assert status(output).state.name == "stopped"


def test_a_process_that_waits_for_the_lock_is_waiting(tmp_path, begin, status):
    output = str(tmp_path / "shared")
    with begin(training(output)) as run:
        run.log.warning("%s: another process (x) is using this folder; waiting for it", output)
        assert status(output).state.name == "waiting"


def test_a_store_that_does_not_answer_is_an_error_and_no_state(proxy, bucket, begin, status):
    with begin(training(f"{bucket}/student")):
        pass
    proxy.fail(403, "read|list|stat")
    with pytest.raises(StoreError, match="permission denied"):
        status(f"{bucket}/student")
