"""Names of runs in trackio; `test_services.py` has the package."""

import re
import sys
import types

import pytest

from teacherlm_jax.config import TrackingConfig, TrainConfig
from teacherlm_jax.tracking.tracking import open_tracking
from tests.make_run import make_run


@pytest.fixture
def trackio(monkeypatch):
    """A module in place of trackio: `taken` has the names of the runs of its only project."""
    module = types.ModuleType("trackio")
    module.taken, module.given = [], []

    def runs(project):
        if project != "old":
            raise ValueError(f"Project {project!r} does not exist")
        return [types.SimpleNamespace(name=name) for name in module.taken]

    def init(**given):
        module.given.append(given)
        return types.SimpleNamespace(_next_step=0, log=lambda row, step: None)

    module.Api = lambda: types.SimpleNamespace(runs=runs)
    module.init, module.finish = init, lambda: None
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "trackio", module)
    return module


def track(folder, project="old"):
    names = TrackingConfig(project=project)
    config = TrainConfig(output=str(folder), track=("trackio",), tracking=names)
    with open_tracking("train", config, make_run(folder)):
        pass


def names_of(module):
    return [(given["name"], given["resume"]) for given in module.given]


def test_a_run_has_the_name_of_its_folder_and_is_resumed_by_it(trackio, tmp_path):
    track(tmp_path / "student")
    trackio.taken.append("student")
    track(tmp_path / "student")
    track(tmp_path / "student", project="new")
    assert names_of(trackio) == [("student", "never"), ("student", "allow"), ("student", "never")]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_name_that_another_run_may_have_gets_a_suffix_that_stays(
    trackio, tmp_path, monkeypatch, elsewhere
):
    if elsewhere:  # where nobody knows which runs there are
        monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/space")
    else:
        trackio.taken.append("student")
    track(tmp_path / "student")
    track(tmp_path / "student")
    (first, never), (second, allow) = names_of(trackio)
    assert re.fullmatch("student-[0-9a-f]{4}", first) and first == second
    assert (never, allow) == ("never", "allow")
