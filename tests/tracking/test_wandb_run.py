"""W&B with a server that answers, refuses or is not there; `test_services.py` has the package."""

import contextlib
import logging
import sys
import types

import pytest

from teacherlm_jax.config import TrackingConfig, TrainConfig
from teacherlm_jax.errors import Interrupted
from teacherlm_jax.storage import files
from teacherlm_jax.tracking import wandb_files
from teacherlm_jax.tracking.tracking import open_tracking
from tests.make_run import make_run


class FakeRun:
    def __init__(self, module, given):
        self.module, self.given, self.offline = module, given, given.get("mode") == "offline"
        self.starting_step, self.url = module.starting_step, "https://wandb.example/runs/1"
        self.summary, self.rows, self.ended, self.preempting = {}, [], None, False

    def log(self, row, step, commit):
        assert commit
        self.rows.append((step, row))

    def mark_preempting(self):
        self.preempting = True

    def finish(self, exit_code):
        self.ended = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A module in place of wandb: `runs` has its runs, and the attributes say how it answers."""
    module = types.ModuleType("wandb")
    module.mode, module.key, module.error, module.active = "online", True, None, None
    module.starting_step, module.runs, module.torn_down = 0, [], 0

    def init(**given):
        if module.error and "mode" not in given:
            raise module.error
        module.runs.append(FakeRun(module, given))
        return module.runs[-1]

    def teardown():
        module.torn_down += 1

    module.init, module.teardown = init, teardown
    module.Settings = lambda **settings: settings
    module.login = lambda prompt, verify: module.key and not prompt
    module.setup = lambda settings=None: types.SimpleNamespace(
        settings=types.SimpleNamespace(mode=module.mode), most_recent_active_run=module.active
    )
    for name in ("WANDB_RUN_ID", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def opened(folder, step=0, history=()):
    config = TrainConfig(output=str(folder), track=("wandb",), tracking=TrackingConfig())
    return open_tracking("train", config, make_run(folder), step=step, history=history)


def test_a_resumed_run_has_the_same_id_and_sends_only_what_the_server_lacks(
    wandb, tmp_path, caplog
):
    with opened(tmp_path) as tracking:
        for step in (10, 20, 30, 40):
            tracking.log({"train/loss": 1.0}, step)
    wandb.starting_step = 31  # step 40 was never uploaded
    history = [(step, {"train/loss": 1.0}) for step in (10, 20)]
    caplog.clear()
    with caplog.at_level(logging.INFO), opened(tmp_path, step=20, history=history) as tracking:
        for step in (30, 40, 50):
            tracking.log({"train/loss": 1.0}, step)
    first, second = wandb.runs
    assert first.given["id"] == second.given["id"] != ""
    assert second.given["resume"] == "allow" and second.given["reinit"] == "create_new"
    assert [step for step, _ in second.rows] == [40, 50]
    assert first.ended == second.ended == 0
    assert caplog.messages == [
        "wandb: https://wandb.example/runs/1",
        "wandb: has the steps up to 30 and gets only later ones",
    ]


@pytest.mark.parametrize("online", [True, False])
def test_steps_that_are_in_files_of_an_offline_run_are_not_logged_again(
    wandb, tmp_path, monkeypatch, online
):
    monkeypatch.setattr(wandb_files, "newest_step", lambda folder, run_id, offline=False: 30)
    wandb.key = online
    with opened(tmp_path, step=20, history=[(20, {"train/loss": 1.0})]) as tracking:
        for step in (30, 40):
            tracking.log({"train/loss": 1.0}, step)
    assert [step for step, _ in wandb.runs[0].rows] == [40]


def test_a_run_is_written_offline_if_there_is_no_key(wandb, tmp_path, caplog):
    wandb.key = False
    with caplog.at_level(logging.INFO), opened(tmp_path) as tracking:
        tracking.log({"train/loss": 1.0}, 10)
    (run,) = wandb.runs
    assert run.offline and run.rows == [(10, {"train/loss": 1.0})]
    assert caplog.messages[0] == (
        "wandb: there is no API key (run `wandb login`, or set WANDB_API_KEY); the run is written "
        "offline"
    )
    assert caplog.messages[1] == f"wandb: offline; `wandb sync {tmp_path}/wandb` uploads the run"


def test_a_run_is_written_offline_if_the_server_refuses_it(wandb, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    wandb.error = RuntimeError("permission denied\nfor 0123456789abcdef")
    with caplog.at_level(logging.WARNING), opened(tmp_path):
        pass
    (run,) = wandb.runs
    assert run.offline and wandb.torn_down == 1
    assert caplog.messages == ["wandb: permission denied for ***; the run is written offline"]


def test_another_run_of_the_process_is_not_ended_when_the_server_refuses(wandb, tmp_path, caplog):
    wandb.error, wandb.active = RuntimeError("permission denied"), object()
    with caplog.at_level(logging.WARNING), opened(tmp_path) as tracking:
        tracking.log({"train/loss": 1.0}, 10)
    assert not wandb.torn_down and not wandb.runs
    assert caplog.messages == [
        "wandb: RuntimeError: permission denied; the run continues and is not tracked there"
    ]


@pytest.mark.parametrize(
    ("error", "preempting"), [(Interrupted("saved"), True), (ValueError("broken"), False)]
)
def test_a_run_that_ends_early_is_shown_as_such(wandb, tmp_path, error, preempting):
    with contextlib.suppress(type(error)), opened(tmp_path):
        raise error
    (run,) = wandb.runs
    assert run.ended == 1 and run.preempting is preempting


def test_the_id_can_come_from_the_environment_and_stays(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    with opened(tmp_path):
        pass
    monkeypatch.setenv("WANDB_RUN_ID", "other")
    with opened(tmp_path):
        pass
    assert [run.given["id"] for run in wandb.runs] == ["mine", "mine"]
    assert files.read_json(tmp_path / "tracking.json")["wandb"]["id"] == "mine"
