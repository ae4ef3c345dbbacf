"""The MLflow hook of the documentation, with a module that stands for mlflow."""

import contextlib
import re
import sys
import types
from pathlib import Path

import pytest

from teacherlm_jax.config import TrackingConfig, TrainConfig
from teacherlm_jax.tracking.tracking import open_tracking, require
from tests.make_run import make_run

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "track-experiments.md"


@pytest.fixture
def mlflow(monkeypatch):
    """A module with the functions of mlflow that the page uses, and their signatures."""
    module = types.ModuleType("mlflow")
    module.runs, module.params, module.metrics, module.experiments = [], [], [], []

    @contextlib.contextmanager
    def start_run(run_id=None, experiment_id=None, run_name=None, nested=False):
        run = {"id": run_id or f"run-{len(module.runs)}", "name": run_name, "status": "RUNNING"}
        module.runs.append(run)
        try:
            yield types.SimpleNamespace(info=types.SimpleNamespace(run_id=run["id"]))
        except BaseException:
            run["status"] = "FAILED"
            raise
        run["status"] = "FINISHED"

    module.start_run = start_run
    module.set_experiment = module.experiments.append
    module.log_params = lambda params: module.params.append(params)
    module.log_metrics = lambda metrics, step=None: module.metrics.append((step, metrics))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """The name of the hook in a file that has the lines of the page."""
    program = r"```python\n# not tested: [^\n]*\n(import mlflow\n.+?)```"
    (block,) = re.findall(program, PAGE.read_text(), re.DOTALL)
    body = block[block.index("def ") :].strip().splitlines()[1:]
    assert len(body) == 5, "the page promises five lines"
    (tmp_path / "mlflow_hook.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mlflow_hook", raising=False)
    assert "config.track=tensorboard,mlflow_hook:track" in PAGE.read_text()
    yield "mlflow_hook:track"
    sys.modules.pop("mlflow_hook", None)


def opened(folder, hook, step=0):
    names = TrackingConfig(project="teachers")
    config = TrainConfig(output=str(folder), track=(hook,), tracking=names)
    return open_tracking("train", config, make_run(folder), step=step)


def test_the_five_lines_of_the_page_track_a_run_and_continue_it(mlflow, hook, tmp_path):
    require((hook,))
    folder = tmp_path / "student"
    with contextlib.suppress(ValueError), opened(folder, hook) as tracking:
        tracking.log({"train/loss": 2.0}, 10)
        raise ValueError("out of luck")
    with opened(folder, hook, step=10) as tracking:
        tracking.log({"train/loss": 1.0}, 20)
        tracking.finish({"loss": 1.0, "checkpoint": "runs/student/checkpoints/20"})
    assert mlflow.runs == [
        {"id": "run-0", "name": "student", "status": "FAILED"},
        {"id": "run-0", "name": "student", "status": "FINISHED"},
    ]
    assert mlflow.experiments == ["teachers", "teachers"]
    assert mlflow.params[0]["optimizer.learning_rate"] == 1e-4
    assert len(mlflow.params[0]) <= 100, "a request to MLflow may have 100 parameters"
    assert all(re.fullmatch(r"[\w./ -]+", key) for key in mlflow.params[0]), "names of MLflow"
    assert mlflow.metrics == [
        (10, {"train/loss": 2.0}),
        (20, {"train/loss": 1.0}),
        (20, {"result/loss": 1.0}),
    ]
