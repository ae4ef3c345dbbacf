"""Run folders as commands leave them, written with the functions that commands use."""

import pytest

from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import run_folder
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import read_status
from teacherlm_jax.storage.paths import StoragePath
from tests.status.made_runs import log_steps, save, training


@pytest.fixture(params=["disk", "bucket"])
def root(request, tmp_path):
    """Folder of runs on a disk, or in a bucket."""
    return str(tmp_path / "runs") if request.param == "disk" else request.getfixturevalue("bucket")


@pytest.fixture
def status():
    """A function that returns the status of a folder."""
    return lambda folder, skew=0.0: read_status(RunFiles(StoragePath(folder), skew))


@pytest.fixture
def command(monkeypatch):
    """A function that makes this process one of a command line."""

    def given(*words):
        monkeypatch.setattr("sys.argv", ["/bin/teacherlm", *words])

    return given


@pytest.fixture
def begin():
    """A function that opens a run folder of a verb, as a context."""

    def opened(settings, verb="train", **options):
        return run_folder.open_run(settings.output, verb, settings, **options)

    return opened


def _interrupted(opened):
    with opened as run:
        log_steps(run, 20, 40)
        save(run, 20, 40)
        raise Interrupted("SIGTERM: saved at step 40 of 100; repeat the command to resume")


@pytest.fixture
def stopped(root, begin, command):
    """A training that was stopped by a signal at step 40, with a checkpoint."""
    command("train", "--config=mine.py")
    settings = training(f"{root}/student")
    with pytest.raises(Interrupted):
        _interrupted(begin(settings))
    return settings.output


def _refused(opened):
    with opened as run:
        log_steps(run, 20)
        raise UserError("step 21: the loss is nan; train again")


@pytest.fixture
def failed(root, begin, command):
    """A training that ended with an error."""
    command("train", "--config=mine.py")
    settings = training(f"{root}/bad")
    with pytest.raises(UserError):
        _refused(begin(settings))
    return settings.output


@pytest.fixture
def finished(root, begin, command):
    """A training that finished."""
    command("train", "--config=mine.py")
    settings = training(f"{root}/good")
    with begin(settings) as run:
        log_steps(run, 50, 100)
        save(run, 100)
        run.finish({"step": 100, "steps": 100, "loss": 2.5})
    return settings.output
