import contextlib
import dataclasses
import json
import logging
import subprocess
import sys
import types

import pytest

from teacherlm_jax.config import (
    BenchmarkConfig,
    EvaluateConfig,
    TrackingConfig,
    TrainConfig,
    fields,
)
from teacherlm_jax.config.tracking_config import SERVICES
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import distributed
from teacherlm_jax.storage import files
from teacherlm_jax.tracking import tracked_run
from teacherlm_jax.tracking.tracking import EXTRA, OPENERS, open_tracking, require
from tests.make_run import make_run
from tests.tracking.events import events_of


@pytest.fixture
def service(monkeypatch):
    """A module of the user's with functions for `config.track`, which note what they get."""
    module = types.ModuleType("my_service")
    module.rows, module.runs, module.ends = [], [], []

    def works(run):
        module.runs.append(dataclasses.replace(run))
        run.id = run.id or "id-1"
        try:
            yield lambda scalars, step: module.rows.append((step, scalars))
        except BaseException as error:
            module.ends.append(type(error))
            raise
        module.ends.append(None)

    def fails(run):
        def log(scalars, step):
            raise OSError(f"no route to host\nwith {SECRET}")

        return log

    def refuses(run):
        raise PermissionError("wrong key")

    module.works, module.fails, module.refuses = works, fails, refuses
    module.no_function = lambda run: None
    monkeypatch.setitem(sys.modules, "my_service", module)
    return module


SECRET = "0123456789abcdef-secret"


def opened(folder, *track, step=0, history=(), **names):
    config = TrainConfig(output=str(folder), track=track, tracking=TrackingConfig(**names))
    return open_tracking("train", config, make_run(folder), step=step, history=history)


def test_a_service_gets_all_scalars_of_a_step_at_once_and_then_the_result(service, tmp_path):
    with opened(tmp_path, "my_service:works") as tracking:
        tracking.log({"train/loss": 2.0}, 10)
        tracking.log({"validation/x": 0.5}, 10)
        assert service.rows == []
        tracking.log({"train/loss": 1.0}, 20)
        tracking.finish({"loss": 1.0, "checkpoint": "c", "deep": {"a": {"b": {"c": 1}, "d": 2}}})
    assert service.rows == [
        (10, {"train/loss": 2.0, "validation/x": 0.5}),
        (20, {"train/loss": 1.0}),
        (20, {"result/loss": 1.0, "result/deep.a.d": 2.0}),
    ]
    assert service.ends == [None]


def test_a_resumed_run_keeps_its_id_and_its_steps_never_go_back(service, tmp_path):
    with contextlib.suppress(KeyboardInterrupt), opened(tmp_path, "my_service:works") as tracking:
        for step in (10, 20, 30):
            tracking.log({"train/loss": 1 / step}, step)
        raise KeyboardInterrupt
    history = [(10, {"train/loss": 0.1}), (20, {"train/loss": 0.05})]
    with opened(tmp_path, "my_service:works", step=20, history=history) as tracking:
        for step in (30, 40):
            tracking.log({"train/loss": 1 / step}, step)
    assert [step for step, _ in service.rows] == [10, 20, 30, 40]
    assert [run.id for run in service.runs] == ["", "id-1"]
    assert service.ends == [KeyboardInterrupt, None]
    entry = files.read_json(tmp_path / "tracking.json")["my_service:works"]
    assert entry == {"project": "teacherlm", "id": "id-1", "step": 40}


def test_a_service_that_is_added_later_gets_the_history(service, tmp_path):
    history = [(20, {"validation/x": 2.0}), (10, {"train/loss": 1.0}), (20, {"train/loss": 0.5})]
    with opened(tmp_path, "my_service:works", step=20, history=history) as tracking:
        tracking.log({"train/loss": 0.25}, 30)
    assert service.rows == [
        (10, {"train/loss": 1.0}),
        (20, {"validation/x": 2.0, "train/loss": 0.5}),
        (30, {"train/loss": 0.25}),
    ]


def test_a_validation_after_an_interruption_joins_the_scalars_of_its_step(service, tmp_path):
    with contextlib.suppress(Interrupted), opened(tmp_path, "my_service:works") as tracking:
        tracking.log({"train/loss": 1.0}, 10)
        tracking.log({"train/loss": 0.5}, 20)
        raise Interrupted("saved at step 20")
    history = [(10, {"train/loss": 1.0}), (20, {"train/loss": 0.5})]
    with opened(tmp_path, "my_service:works", step=20, history=history) as tracking:
        tracking.log({"validation/x": 2.0}, 20)
    assert service.rows == [
        (10, {"train/loss": 1.0}),
        (20, {"train/loss": 0.5, "validation/x": 2.0}),
    ]


def test_another_project_is_another_run(service, tmp_path):
    for project in ("a", "b"):
        with opened(tmp_path, "my_service:works", project=project) as tracking:
            tracking.log({"train/loss": 1.0}, 10)
    assert [run.id for run in service.runs] == ["", ""]
    assert [step for step, _ in service.rows] == [10, 10]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "OSError: no route to host with ***"),
        ("refuses", "PermissionError: wrong key"),
        ("no_function", "TypeError: <lambda> gives None; expected a function log(scalars, step)"),
    ],
)
def test_a_service_that_fails_gives_one_line_and_the_others_go_on(
    service, tmp_path, caplog, monkeypatch, name, message
):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with (
        caplog.at_level(logging.INFO),
        opened(tmp_path, f"my_service:{name}", "my_service:works") as tracking,
    ):
        for step in (1, 2, 3):
            tracking.log({"train/loss": 1.0}, step)
        tracking.finish({"loss": 1.0})
    assert len(service.rows) == 4
    assert caplog.messages == [
        f"my_service:{name}: {message}; the run continues and is not tracked there"
    ]


def test_a_stop_while_a_service_is_opened_stops_the_run(service, tmp_path):
    def stops(run):
        raise Interrupted("stopped")

    service.stops = stops
    with pytest.raises(Interrupted):
        opened(tmp_path, "my_service:stops")


def test_only_the_first_process_opens_services(service, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    with opened(tmp_path, "my_service:works", "tensorboard") as tracking:
        tracking.log({"train/loss": 1.0}, 1)
        tracking.finish({"loss": 1.0})
    assert not service.runs and not list(tmp_path.iterdir())


def test_the_config_knows_the_services():
    assert tuple(OPENERS) == SERVICES


def test_a_missing_package_is_refused_with_the_extra_that_has_it(monkeypatch):
    require(("tensorboard", "wandb", "trackio"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="'wandb' needs the package wandb") as error:
        require(("tensorboard", "wandb"))
    assert EXTRA in str(error.value)


def test_a_function_that_cannot_be_imported_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_other_service.py").write_text("def track(run):\n    return print\n")
    require(("my_other_service:track",))
    with pytest.raises(UserError, match=r"'my_other_service:log' cannot be imported \(Attribute"):
        require(("my_other_service:log",))
    with pytest.raises(UserError, match="No module named 'nobody'"):
        require(("nobody:track",))


def test_a_run_without_services_imports_none_of_their_packages():
    code = (
        "import sys, teacherlm_jax.tracking.tracking as tracks\n"
        "from teacherlm_jax.config import TrainConfig\n"
        "tracks.require(()); tracks.Tracking\n"
        "import json\n"
        "print(json.dumps([n for n in ('tensorboardX', 'wandb', 'trackio') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"track": ("wanbd",)},
            r"config\.track: .*got 'wanbd'; did you mean 'wandb'\?; a function",
        ),
        ({"track": ("wandb", "wandb")}, r"config\.track: 'wandb' is named twice; name each"),
        ({"tracking": TrackingConfig(project="a/b")}, r"config\.tracking\.project: 'a/b' has '/'"),
    ],
)
def test_names_that_cannot_be_used_are_refused_by_key(settings, message):
    benchmarks = (BenchmarkConfig(name="a", path="a"),)
    for config in (
        TrainConfig(output="o", data="d", **settings),
        EvaluateConfig(output="o", model="m", benchmarks=benchmarks, **settings),
    ):
        with pytest.raises(UserError, match=message):
            fields.check(config)


def test_names_come_from_the_config_or_the_environment_or_the_folder(tmp_path, monkeypatch):
    run = make_run(tmp_path / "student")
    empty = tracked_run.describe("train", TrainConfig(output="o"), run)
    assert (empty.project, empty.name, empty.group, empty.tags) == ("teacherlm", "student", "", ())
    for name, value in (("PROJECT", "p"), ("NAME", "n"), ("RUN_GROUP", "g"), ("TAGS", "a, b")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    ours = tracked_run.describe("train", TrainConfig(output="o"), run)
    assert (ours.project, ours.name, ours.group, ours.tags) == ("p", "n", "g", ("a", "b"))
    names = TrackingConfig(project="q", name="m", group="h", tags=("c",))
    config = TrainConfig(output="o", tracking=names)
    theirs = tracked_run.describe("train", config, run)
    assert (theirs.project, theirs.name, theirs.group, theirs.tags) == ("q", "m", "h", ("c",))


def test_settings_are_flat_and_benchmarks_are_named_with_what_differs(tmp_path):
    benchmarks = (BenchmarkConfig(name="creak", path="a.jsonl", shots=2),)
    config = EvaluateConfig(output="o", model="m", benchmarks=benchmarks, train_manifest=("x", "y"))
    files.write_json(tmp_path / "versions.json", {"commit": "abc"})
    settings = tracked_run.describe("evaluate", config, make_run(tmp_path)).config
    assert {key: value for key, value in settings.items() if key.startswith("bench")} == {
        "benchmarks.creak.name": "creak",
        "benchmarks.creak.path": "a.jsonl",
        "benchmarks.creak.shots": 2,
    }
    assert settings["mesh.data"] == config.mesh.data and settings["train_manifest"] == "x, y"
    assert (settings["verb"], settings["commit"]) == ("evaluate", "abc")
    assert not [key for key in settings if key.startswith("track")]


def test_tensorboard_gets_the_steps_that_were_logged_without_it(tmp_path):
    history = []
    for services, steps in ((("tensorboard",), (10, 20)), ((), (30,)), (("tensorboard",), (40,))):
        newest = history[-1][0] if history else 0
        with opened(tmp_path, *services, step=newest, history=history) as tracking:
            for step in steps:
                tracking.log({"train/loss": float(step)}, step)
                history.append((step, {"train/loss": float(step)}))
        for path in (tmp_path / "tensorboard").glob("events.*"):  # named by the second
            path.rename(path.with_name(f"{newest:02}.{path.name}"))
    paths = sorted((tmp_path / "tensorboard").iterdir())
    logged = [event[0] for path in paths for event in events_of(path) if event[1] == "train/loss"]
    assert logged == [10, 20, 30, 40]
