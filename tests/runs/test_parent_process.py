import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.runs import parent_process, run_folder, run_place
from teacherlm_jax.storage import folder_lock
from teacherlm_jax.storage.holders import FolderInUse

SECONDS = 60  # for one thing to happen, on a busy machine
# Starts a process that is tied to it, and another one after it, which inherits what it may.
PARENT = """
import os, pathlib, subprocess, sys
from teacherlm_jax.runs.parent_process import TiedProcess
child = TiedProcess(sys.argv[3:], os.environ)
other = subprocess.Popen(["sleep", "100"], close_fds=False)
pathlib.Path(sys.argv[2]).write_text(f"{child.pid} {other.pid}")
os.replace(sys.argv[2], sys.argv[1])
for line in sys.stdin:
    child.send_signal(int(line))
child.wait()
"""
# A config file that takes long, and notes the environment of the command.
SLOW = """
import os, pathlib, time
pathlib.Path({begun!r}).write_text(" ".join(os.environ))
time.sleep(100)
"""
# Counts the signals until it is told to exit.
COUNTS = """
import pathlib, signal, sys, time
from teacherlm_jax.runs import parent_process
folder, count = pathlib.Path(sys.argv[1]), 0
def note(*_):
    global count
    count += 1
    (folder / f"signal-{count}").touch()
signal.signal(signal.SIGTERM, note)
parent_process.follow()
(folder / "begun").touch()
while not (folder / "may-exit").exists():
    time.sleep(0.02)
time.sleep(0.5)
"""


def wait_until(seen):
    end = time.monotonic() + SECONDS
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.02)


def has_ended(process):
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def parent(tmp_path):
    """Function that starts a parent of a command line; it returns both processes."""
    started, numbers = [], []

    def start(*words):
        names = [str(tmp_path / name) for name in ("numbers", "numbers.part")]
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, *names, *words], stdin=subprocess.PIPE, text=True
        )
        started.append(process)
        wait_until((tmp_path / "numbers").exists)
        numbers.extend(map(int, (tmp_path / "numbers").read_text().split()))
        return process, numbers[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_a_command_stops_when_its_parent_is_killed_and_its_children_see_no_variable(
    parent, tmp_path
):
    begun, config = tmp_path / "begun", tmp_path / "slow.py"
    config.write_text(SLOW.format(begun=str(begun)))
    process, child = parent(sys.executable, "-m", "teacherlm_jax", "train", f"--config={config}")
    wait_until(begun.exists)
    assert "PATH" in begun.read_text() and "PARENT_PIPE" not in begun.read_text()
    process.kill()
    wait_until(lambda: has_ended(child))


def test_a_process_that_was_asked_to_stop_gets_no_second_signal(parent, tmp_path):
    process, child = parent(sys.executable, "-c", COUNTS, str(tmp_path))
    wait_until((tmp_path / "begun").exists)
    print(signal.SIGTERM.value, file=process.stdin, flush=True)
    wait_until((tmp_path / "signal-1").exists)
    process.kill()
    process.wait()
    (tmp_path / "may-exit").touch()
    wait_until(lambda: has_ended(child))
    assert not (tmp_path / "signal-2").exists()


@pytest.mark.parametrize("value", ["", "97", "0x", "9" * 30])
def test_a_variable_without_its_pipe_has_no_effect(value):
    done = subprocess.run(
        [sys.executable, "-m", "teacherlm_jax", "--version"],
        env={**os.environ, "TEACHERLM_PARENT_PIPE": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("teacherlm ") and done.stderr == ""


@pytest.fixture
def held(tmp_path):
    """Function that opens the run folder that another process uses, and the lock of that one."""
    (tmp_path / "run").mkdir()
    lock = folder_lock.acquire(tmp_path / "run/.lock")

    def open_run():
        config = TrainConfig(output=str(tmp_path / "run"), data="rows", steps=1)
        with run_folder.open_run(config.output, "train", config):
            pass

    yield open_run, lock
    lock.release()


def test_a_step_waits_for_the_process_that_uses_its_folder(held, monkeypatch, capsys):
    open_run, lock = held
    monkeypatch.setattr(parent_process, "_followed", True)
    threading.Timer(1.2, lock.release).start()
    open_run()
    (line,) = capsys.readouterr().out.splitlines()
    assert f"another process ({folder_lock.holders.name()}) is using this folder; waiting" in line


def test_a_step_is_refused_at_the_end_of_the_time(held, monkeypatch):
    open_run, _ = held
    monkeypatch.setattr(parent_process, "_followed", True)
    monkeypatch.setattr(run_place, "_SAVE_SECONDS", 0.0)
    with pytest.raises(FolderInUse, match="is using this folder; wait for it or stop it"):
        open_run()


def test_a_command_that_nobody_follows_is_refused_at_once(held, monkeypatch):
    open_run, _ = held
    monkeypatch.setattr(run_place.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(FolderInUse, match="is using this folder; wait for it or stop it"):
        open_run()
