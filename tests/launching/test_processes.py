import os
import signal
import subprocess
import sys
import time

import pytest

from teacherlm_jax.launching import processes

LAUNCHER = """
import os, sys
from pathlib import Path
from teacherlm_jax.launching import processes
environments = [{**os.environ, "NUMBER": str(number)} for number in range(2)]
command = [sys.executable, "-c", sys.argv[1]]
sys.exit(processes.run(processes.Job(command, environments, Path(sys.argv[2]), grace=5)))
"""
SAVES = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("ready", flush=True)
for _ in range(600): time.sleep(0.1)
"""


@pytest.fixture
def run(tmp_path):
    def call(code, count=2, grace=5.0):
        environments = [{**os.environ, "NUMBER": str(number)} for number in range(count)]
        command = [sys.executable, "-c", f"import os, sys, time\nN = os.environ['NUMBER']\n{code}"]
        return processes.run(processes.Job(command, environments, tmp_path / "logs", grace))

    return call


@pytest.fixture
def launched(tmp_path):
    """A launcher in a process of its own, both of its processes being ready."""

    def call(code):
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, code, tmp_path / "logs"],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [launcher.stdout.readline() for _ in range(3)]
        assert sorted(lines[1:]) == ["[0] ready\n", "[1] ready\n"]
        return launcher

    return call


def test_lines_are_told_apart_and_kept_by_process(run, tmp_path, capfd):
    assert run("print('hello', N); print('[Gloo] noise'); print('to stderr', file=sys.stderr)") == 0
    shown = capfd.readouterr().out
    assert "[0] hello 0\n" in shown and "[1] hello 1\n" in shown and "[1] to stderr\n" in shown
    assert "Gloo" not in shown
    kept = (tmp_path / "logs" / "process-1.txt").read_text().splitlines()
    assert sorted(kept) == ["[Gloo] noise", "hello 1", "to stderr"]


def test_one_that_is_killed_ends_the_others(run, capfd):
    began = time.monotonic()
    assert run("if N == '1': os.kill(os.getpid(), 9)\ntime.sleep(60)") == 128 + 9
    assert time.monotonic() - began < 30
    assert "launch: process 1 was killed by SIGKILL\n" in capfd.readouterr().out


def test_one_that_does_not_end_in_time_is_killed(run):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nif N == '1': sys.exit(7)\ntime.sleep(60)"
    began = time.monotonic()
    assert run(f"import signal\n{code}", grace=0.3) == 7
    assert time.monotonic() - began < 30


def test_what_a_process_started_ends_with_it(run):
    began = time.monotonic()
    assert run("import subprocess\nsubprocess.Popen(['sleep', '60'])\nsys.exit(3)") == 3
    assert time.monotonic() - began < 30


def test_what_all_tell_the_user_is_shown_once(run, capfd):
    assert run("print('teacherlm: no such folder')\nsys.exit(2)", count=3) == 2
    assert capfd.readouterr().out.count("teacherlm: no such folder") == 1


def test_a_process_that_is_done_first_is_no_failure(run):
    assert run("time.sleep(0.5 * int(N))") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_all_save_and_gives_its_status(launched, number):
    launcher = launched(SAVES)
    launcher.send_signal(number)
    shown = launcher.communicate(timeout=30)[0]
    assert launcher.returncode == 128 + number
    assert "[0] saved" in shown and "[1] saved" in shown


def test_a_second_signal_kills(launched):
    launcher = launched(STUBBORN)
    launcher.send_signal(signal.SIGINT)
    assert {launcher.stdout.readline() for _ in range(3)} >= {"[0] no\n", "[1] no\n"}
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=30)
    assert launcher.returncode == 128 + signal.SIGINT
