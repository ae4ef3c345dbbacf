"""The real packages: a run is killed at step 30 and resumes from a checkpoint at 20.

It is offline at first. Then W&B is online, but its server refuses the key.
"""

import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.tracking import wandb_files
from tests.tracking.events import events_of
from tests.tracking.tracked_process import RESULT, TABLE, loss_at

KEY = "0123456789abcdef" * 3


class Refusal(http.server.BaseHTTPRequestHandler):
    """A server that permits nothing."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "permission denied"}]}')

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def track(folder, *words, **variables):
    environment = {
        **os.environ,
        **variables,
        "WANDB_API_KEY": KEY,
        "TRACKIO_DIR": str(folder.parent / "trackio"),
        "HOME": str(folder.parent),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "tests.tracking.tracked_process", str(folder), *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, server):
    """Folder of the run, which was killed and then finished, and the output of both processes."""
    folder = tmp_path_factory.mktemp("tracking") / "student"
    killed = track(folder, "0", "30", "kill", WANDB_MODE="offline")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = track(folder, "20", "40", WANDB_BASE_URL=server)
    assert finished.returncode == 0, finished.stderr
    return folder, killed.stdout + killed.stderr + finished.stdout + finished.stderr


def wandb_records(folder):
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(paths) == 2, "one file per process"
    return [record for path in paths for record in wandb_files.records(path)]


def test_wandb_has_every_step_once_and_in_order(resumed):
    folder, _ = resumed
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    history = [row for path in paths for row in wandb_files.history(path)]
    assert [step for step, _ in history] == [10, 20, 30, 40]
    assert [row["train/loss"] for _, row in history] == list(map(loss_at, (10, 20, 30, 40)))
    assert history[1][1]["validation/held_out/loss"] == loss_at(20)
    assert "validation/held_out/loss" not in history[2][1]
    run_id = files.read_json(folder / "tracking.json")["wandb"]["id"]
    for offline in (False, True):
        assert wandb_files.newest_step(folder, run_id, offline=offline) == 40
    assert wandb_files.newest_step(folder, "another") is None


def test_wandb_continues_the_run_with_its_names_settings_and_results(resumed):
    folder, _ = resumed
    records = wandb_records(folder)
    runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    (run_id,) = {run.run_id for run in runs}
    assert files.read_json(folder / "tracking.json")["wandb"]["id"] == run_id
    last = runs[-1]
    assert (last.project, last.display_name, last.run_group) == ("tests", "student", "rates")
    assert list(last.tags) == ["one", "two"] and last.job_type == "train"
    settings = {item.key: json.loads(item.value_json) for item in last.config.update}
    assert settings["optimizer"]["learning_rate"] == 1e-4
    assert settings["run_folder"] == str(folder) and "track" not in settings
    summary = {}
    for record in records:
        for item in record.summary.update:
            summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    assert summary["loss"] == RESULT["loss"] and summary["checkpoint"] == RESULT["checkpoint"]
    assert summary["benchmarks.creak.rows"] == 9
    (table,) = folder.glob("wandb/*/files/media/table/results*.json")
    assert files.read_json(table) == {
        "columns": list(TABLE[0]),
        "data": [list(row.values()) for row in TABLE],
    }


def test_trackio_has_every_step_once_with_settings_and_results(resumed):
    folder, _ = resumed
    with sqlite3.connect(folder.parent / "trackio" / "tests.db") as database:
        query = "SELECT run_name, run_id, step, metrics FROM metrics ORDER BY id"
        rows = database.execute(query).fetchall()
        ((settings,),) = database.execute("SELECT config FROM configs").fetchall()
    database.close()
    assert {row[0] for row in rows} == {"student"} and len({row[1] for row in rows}) == 1
    steps = [(row[2], json.loads(row[3])) for row in rows]
    losses = [(step, row["train/loss"]) for step, row in steps if "train/loss" in row]
    assert losses == [(step, loss_at(step)) for step in (10, 20, 30, 40)]
    assert steps[-1][1]["result/loss"] == RESULT["loss"]
    assert [row["accuracy"] for row in steps[-1][1]["results"]["_value"]] == [0.5, 0.75]
    settings = json.loads(settings)
    assert settings["optimizer.learning_rate"] == 1e-4
    assert (settings["_Group"], settings["tags"]) == ("rates", "one, two")


def test_tensorboard_shows_the_repeated_steps_of_the_resumed_run(resumed):
    folder, _ = resumed
    killed, finished = (events_of(path) for path in sorted((folder / "tensorboard").iterdir()))
    assert [step for step, name, _ in killed if name == "train/loss"] == [10, 20, 30]
    assert [step for step, name, _ in finished if name == "train/loss"] == [30, 40]
    assert finished[0] == (21, "purge", None)
    names = {name for _, name, _ in finished}
    assert {"config/text_summary", "_hparams_/session_start_info"} <= names
    assert (40, "result/loss", RESULT["loss"]) in finished
    (text,) = [value for _, name, value in finished if name == "results/text_summary"]
    assert text.splitlines()[2:] == ["| creak | 0.5 |", "| ecqa | 0.75 |"]


def test_a_server_that_refuses_the_key_gives_one_line(resumed):
    _, output = resumed
    (line,) = [line for line in output.splitlines() if "the run is written offline" in line]
    assert line.startswith("wandb: Failed to get resume status") and "permission denied" in line
    assert "Traceback" not in output


def test_trackio_prints_nothing(resumed):
    _, output = resumed
    assert "* " not in output


def test_no_secret_is_written_or_printed_and_no_process_of_wandb_is_left(resumed):
    folder, output = resumed
    assert KEY not in output
    for path in folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    until = time.monotonic() + 10
    while left := wandb_processes(folder):
        assert time.monotonic() < until, left
        time.sleep(0.1)


def wandb_processes(folder):
    """Return the processes of wandb with the home of the test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            home = f"HOME={folder.parent}\0".encode() in (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().decode()
        except OSError:  # it has ended, or is another user's
            continue
        if home and "wandb" in command:
            found.append(command)
    return found
