"""Launchers that hand a command over to any scheduler: values, restarts, refusals."""

import shlex

import pytest

from teacherlm_jax.launching import handover

from .fake_schedulers import HOSTILE, TRAIN, launch

ALL = ["gke", "slurm", "skypilot"]


@pytest.mark.parametrize("scheduler", ALL)
def test_every_value_arrives_unchanged(schedulers, clone, scheduler):
    assert launch(scheduler) == 0
    assert [words for words, _ in schedulers.runs] == [TRAIN] * (
        2 if scheduler == "skypilot" else 1
    )
    assert schedulers.status == 0


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize("status", handover.RESTARTED)
def test_the_same_command_is_run_again_after_a_status_that_can_be_resumed(
    schedulers, clone, scheduler, status
):
    options = ["--nodes=1"] if scheduler == "skypilot" else []
    schedulers.cue(status, status)
    assert launch(scheduler, *options) == 0
    assert [words for words, _ in schedulers.runs] == [TRAIN] * 3
    assert schedulers.status == 0


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize("status", [1, 2])
def test_a_failure_of_the_program_is_not_restarted(schedulers, clone, scheduler, status):
    options = ["--nodes=1"] if scheduler == "skypilot" else []
    schedulers.cue(status)
    assert launch(scheduler, *options) == 0, "the job was submitted"
    assert len(schedulers.runs) == 1
    assert schedulers.status == status


@pytest.mark.parametrize("scheduler", ["gke", "slurm"])
def test_restarts_are_limited(schedulers, clone, scheduler, monkeypatch):
    monkeypatch.setenv("TEACHERLM_RESTARTS", "3")
    schedulers.cue(*[143] * 30)
    assert launch(scheduler, *(["--restarts=3"] if scheduler == "gke" else [])) == 0
    assert (len(schedulers.runs), schedulers.status) == (4, 143)


@pytest.mark.parametrize("scheduler", ALL)
def test_a_dry_run_prints_exactly_the_command_that_is_run(schedulers, clone, scheduler, capfd):
    assert launch(scheduler, "--dry_run") == 0
    printed = capfd.readouterr().out
    assert not schedulers.calls
    assert launch(scheduler) == 0
    assert shlex.split(printed) == schedulers.calls[0]


PROGRAMS = {"gke": "gcluster", "slurm": "sbatch", "skypilot": "sky"}


@pytest.mark.parametrize("scheduler", ALL)
def test_the_status_of_a_scheduler_that_refuses_is_passed_on(schedulers, clone, scheduler, capfd):
    program = PROGRAMS[scheduler]
    schedulers.cue(**{program: [3]})
    assert launch(scheduler) == 3
    assert f"{program}: refused" in capfd.readouterr().out
    assert not schedulers.runs
    assert launch(scheduler) == 0
    assert schedulers.runs


@pytest.mark.parametrize("scheduler", ALL)
def test_a_missing_program_is_reported_with_the_remedy(
    schedulers, clone, scheduler, capfd, monkeypatch
):
    program = PROGRAMS[scheduler]
    monkeypatch.setenv("PATH", "/nowhere")
    assert launch(scheduler) == 2
    assert f"launch: {program}: command not found; " in capfd.readouterr().err


INVALID = [
    (["trian", *TRAIN[1:]], "unknown command 'trian'"),
    (["train", "--config=nope.py", HOSTILE], "nope.py: no such config file"),
    ([*TRAIN, "--config.lerning_rate=1"], "lerning_rate"),
    ([*TRAIN, "--config.steps=many"], "steps"),
    (["report", "--config.root=gs://b/r", "--config.output=gs://b/p"], "runs in one process only"),
]


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize(("words", "message"), INVALID)
def test_an_invalid_command_is_refused_before_anything_is_printed_or_called(
    schedulers, clone, scheduler, words, message, capfd
):
    assert launch(scheduler, "--dry_run", words=words) == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not schedulers.calls
