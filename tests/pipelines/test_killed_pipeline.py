"""A pipeline that was killed: its steps save and exit, and the repeated command waits for them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEPS = "ab"
SECONDS = 100  # for one thing to happen, on a busy machine
PIPELINE = """
import subprocess, sys
from teacherlm_jax.config import PipelineConfig, PipelineOptions
from teacherlm_jax.pipelines import runner
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage.paths import StoragePath

root, program = sys.argv[1:]
popen = subprocess.Popen
subprocess.Popen = lambda words, **settings: popen([words[0], program, *words[3:]], **settings)
steps = [
    Step(
        name=name,
        title=name,
        output=StoragePath(f"{root}/{name}/result.json"),
        words=lambda run, name=name: [f"{root}/{name}"],
    )
    for name in "ab"
]
with run_folder.open_run(root, "pipeline", PipelineConfig(output=root)) as run:
    runner.run_steps(steps, run, PipelineOptions(processes=2))
"""
# Stands for a command, which holds the lock of its folder until it has saved.
COMMAND = """
import os, pathlib, signal, sys, time
from teacherlm_jax.runs import parent_process, run_place

def save(*_):
    (folder / "saving").touch()
    while not (folder / "may-exit").exists():
        time.sleep(0.02)
    (folder / "checkpoint").touch()
    sys.exit(143)

parent_process.follow()
folder = pathlib.Path(sys.argv[1])
place = run_place.open_place(str(folder))
if (folder / "checkpoint").exists():
    (folder / "result.json").write_text("{}")
    sys.exit()
signal.signal(signal.SIGTERM, save)
(folder / "pid").write_text(str(os.getpid()))
os.replace(folder / "pid", folder / "begun")
time.sleep(100)
"""


def begin(tmp_path):
    program = tmp_path / "command.py"
    program.write_text(COMMAND)
    return subprocess.Popen(
        [sys.executable, "-c", PIPELINE, str(tmp_path / "root"), str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(*paths):
    end = time.monotonic() + SECONDS
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, paths
        time.sleep(0.02)


def is_running(process):
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def killed(tmp_path):
    """Folders of the steps of a pipeline that was killed, and their processes, which save."""
    folders = [tmp_path / "root" / name for name in STEPS]
    pipeline = begin(tmp_path)
    wait_for(*(folder / "begun" for folder in folders))
    processes = [int((folder / "begun").read_text()) for folder in folders]
    pipeline.kill()
    pipeline.wait()
    pipeline.stdout.close()
    yield folders, processes
    for process in filter(is_running, processes):
        os.kill(process, signal.SIGKILL)


def test_its_steps_save_and_exit_and_the_repeated_command_waits_for_them(killed, tmp_path):
    folders, processes = killed
    wait_for(*(folder / "saving" for folder in folders))
    again = begin(tmp_path)
    shown, waiting = "", "is using this folder; waiting up to 120 s for it to save and exit"
    while shown.count(waiting) < len(folders):
        line = again.stdout.readline()
        assert line, shown
        shown += line
    assert all(map(is_running, processes))
    for folder in folders:
        (folder / "may-exit").touch()
    shown += again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0, shown
    assert shown.count(waiting) == len(folders), "one line each"
    assert not any(map(is_running, processes))
    assert all((folder / "result.json").exists() for folder in folders)
