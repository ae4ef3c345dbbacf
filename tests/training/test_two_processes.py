"""Two processes of four simulated devices, as `launch/local.py` starts them."""

import os
import re
import signal

import pytest

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.cli import main
from teacherlm_jax.storage import files
from tests.training.launches import STEPS, Launch, write_configs

SWEEP = """
def sweep():
    yield "missing", {"data": "none"}
    yield "one", {"steps": 3}
    yield "small", {"model.vocab_size": 16}
    yield "two", {"steps": 3}
"""


@pytest.fixture(scope="module")
def folder(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    write_configs(folder, prepared, folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """An uninterrupted run."""
    launch = Launch(folder, "whole")
    status, shown = launch.end()
    assert status == 0, shown
    return launch


def test_two_processes_train_as_one_does(whole, folder):
    one = Launch(folder, "one", processes=1)
    status, shown = one.end()
    assert status == 0, shown
    assert whole.losses().keys() == one.losses().keys() == set(range(1, STEPS + 1))
    for step, (loss, _) in whole.losses().items():
        assert loss == pytest.approx(one.losses()[step][0], rel=1e-5)
    for launch, processes in ((one, 1), (whole, 2)):
        assert files.read_json(launch.run / "versions.json")["processes"] == processes
    alone, both = (files.read_json(launch.run / "result.json") for launch in (one, whole))
    assert both["tokens"] == alone["tokens"]


def test_two_processes_evaluate_as_one_does(whole, folder):
    both = Launch(folder, "both", verb="evaluate", config="evaluate")
    status, shown = both.end()
    assert status == 0, shown
    alone = folder / "alone"
    words = [f"--config={folder}/evaluate.py", f"--config.output={alone}"]
    assert main.main(["evaluate", *words]) == 0
    scored, expected = (
        [row for _, row in files.read_jsonl(run / "questions.predictions.jsonl")]
        for run in (both.run, alone)
    )
    assert len(scored) == 3
    for row, one in zip(scored, expected, strict=True):
        assert row["scores"] == pytest.approx(one["scores"], rel=1e-5)
        assert row["prediction"] == one["prediction"]


def test_a_refusal_ends_both_processes_and_is_reported_once(whole, folder):
    status, shown = Launch(folder, "whole", "--config.seed=1").end()
    assert status == 2
    assert shown.count("this run was started with config.seed=0, but now config.seed=1") == 1
    log = (folder / "logs-whole" / "process-1.txt").read_text()
    assert "holds a run" not in log and "Traceback" not in log


def error_messages(folder, output, number):
    """Return the error messages in the log of a process."""
    lines = (folder / f"logs-{output}" / f"process-{number}.txt").read_text().splitlines()
    return [line for line in lines if line.startswith("teacherlm: ")]


def test_a_missing_input_is_reported_by_the_first_process_only(folder):
    status, _ = Launch(folder, "without", f"--config.data={folder}/none").end()
    assert status == 2
    (message,) = error_messages(folder, "without", 0)
    assert f"{folder}/none" in message
    assert error_messages(folder, "without", 1) == []


def test_a_sweep_continues_after_a_point_that_both_processes_refuse(folder):
    (folder / "sweep.py").write_text((folder / "train.py").read_text() + SWEEP)
    status, shown = Launch(folder, "sweep", "--sweep_all", config="sweep").end()
    assert status == 2, shown
    (message,) = error_messages(folder, "sweep", 0)
    assert message.startswith("teacherlm: 2 of 4 points of the sweep failed: ")
    assert "missing: " in message and "small: " in message
    assert error_messages(folder, "sweep", 1) == []
    finished = sorted(path.parent.name for path in (folder / "sweep").glob("*/result.json"))
    assert finished == ["one", "two"]


def test_a_killed_run_resumes_and_a_stopped_one_is_saved_bit_equal(whole, folder):
    killed = Launch(folder, "killed")
    killed.wait_for((killed.run / "checkpoints" / "2").exists)
    os.kill(killed.pids[1], signal.SIGKILL)
    status, shown = killed.end()
    assert status == 128 + signal.SIGKILL
    assert "process 1 was killed by SIGKILL" in shown
    assert not (killed.run / "result.json").exists()

    versions = killed.run / "versions.json"
    resumed = Launch(folder, "killed")
    resumed.wait_for(lambda: "before" in files.read_json(versions))
    resumed.terminate()  # received before the first step, handled between two
    status, shown = resumed.end()
    assert status == 128 + signal.SIGTERM, shown
    saved = int(re.search(rf"SIGTERM: saved at step (\d) of {STEPS}", shown)[1])
    assert 2 < saved < STEPS

    ours, theirs = (Checkpoints(launch.run).meta(saved) for launch in (resumed, whole))
    assert ours["parameters"] == theirs["parameters"]
    assert ours["optimizer"] == theirs["optimizer"]
    expected = {step: values for step, values in whole.losses().items() if step <= saved}
    assert resumed.losses() == expected
