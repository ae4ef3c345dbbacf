"""`teacherlm train`, killed in real processes, ends with the bits of a run left in peace."""

import signal

import pytest

from benchmarks import kill_train, kills

STEPS = 16


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts `teacherlm train` with a run folder's name, in a process that can be killed."""
    folder = tmp_path_factory.mktemp("killed")
    words = kill_train.prepare(folder, STEPS)
    environment = kill_train.on_two_devices(folder)

    def begin(name):
        return kills.Training.start(folder / name, STEPS, words, environment)

    return begin


def test_a_run_killed_again_and_again_ends_with_the_same_bits(start):
    # Nothing is compiled yet, which takes a while: were the signal held back until a step is done,
    # there would be a checkpoint.
    compiling = start("killed")
    assert compiling.kill("compile", signal.SIGTERM) == "compile"
    assert "teacherlm: SIGTERM before the first step" in compiling.told
    assert compiling.process.returncode == 128 + signal.SIGTERM
    assert not list((compiling.run / "checkpoints").iterdir())

    peaceful = start("peaceful")
    kill_train.in_peace(peaceful)
    expected = kills.outcome(peaceful.run)
    deaths = [
        start("killed").kill("save", signal.SIGKILL),
        start("killed").kill("validation", signal.SIGKILL),
        start("killed").kill("validation", signal.SIGTERM),
        start("killed").kill("end", signal.SIGKILL),
    ]
    assert deaths == ["save", "validation", "validation", "end"]
    last = start("killed")
    kill_train.in_peace(last)
    assert kills.differences(kills.outcome(last.run), expected) == []
    assert len(expected) > 50 and expected["validation"].count("\n") == 3
    left = {path.name for path in (last.run / "checkpoints").iterdir()}
    assert left == {path.name for path in (peaceful.run / "checkpoints").iterdir()}
