"""`teacherlm train`, killed in real processes, is bit-equal to an uninterrupted run."""

import signal

import pytest

from benchmarks import kill_train, kills
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import read_status
from teacherlm_jax.storage.paths import StoragePath

STEPS = 16


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Function that starts `teacherlm train` for a run folder in a process that can be killed."""
    folder = tmp_path_factory.mktemp("killed")
    words = kill_train.prepare(folder, STEPS)
    environment = kill_train.on_two_devices(folder)

    def begin(name):
        return kills.Training.start(folder / name, STEPS, words, environment)

    return begin


def test_a_run_that_is_killed_many_times_is_bit_equal_to_an_uninterrupted_run(start):
    # Compiling takes a while without a cache. If SIGTERM waited for a step, there would be a
    # checkpoint.
    compiling = start("killed")
    assert compiling.kill("compile", signal.SIGTERM) == "compile"
    assert "teacherlm: SIGTERM before the first step" in compiling.output
    assert compiling.process.returncode == 128 + signal.SIGTERM
    assert not list((compiling.run / "checkpoints").iterdir())
    status = read_status(RunFiles(StoragePath(compiling.run)))
    assert status.state.name == "stopped" and "before its first step" in status.state.reason

    uninterrupted = start("uninterrupted")
    kill_train.run_to_end(uninterrupted)
    expected = kills.outcome(uninterrupted.run)
    phases = [
        start("killed").kill("save", signal.SIGKILL),
        start("killed").kill("validation", signal.SIGKILL),
        start("killed").kill("validation", signal.SIGTERM),
        start("killed").kill("end", signal.SIGKILL),
    ]
    assert phases == ["save", "validation", "validation", "end"]
    status = read_status(RunFiles(StoragePath(compiling.run)))
    assert status.state.name == "stopped" and "was killed" in status.state.reason
    assert status.progress.figures["steps"] == STEPS and status.progress.figures["checkpoints"]
    assert status.starts > 1 and status.next.command.startswith("teacherlm train ")
    last = start("killed")
    kill_train.run_to_end(last)
    assert kills.differences(kills.outcome(last.run), expected) == []
    assert len(expected) > 50 and expected["validation"].count("\n") == 3
    checkpoints = {path.name for path in (last.run / "checkpoints").iterdir()}
    assert checkpoints == {path.name for path in (uninterrupted.run / "checkpoints").iterdir()}
