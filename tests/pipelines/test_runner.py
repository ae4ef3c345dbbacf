"""Steps of a pipeline: order, resumption, `--until` and `--status`."""

import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.config import QuickstartConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import runner
from teacherlm_jax.pipelines.runner import Step
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage.paths import StoragePath


@pytest.fixture
def run(tmp_path):
    config = QuickstartConfig(output=str(tmp_path / "runs"))
    with run_folder.open_run(config.output, "quickstart", config) as opened:
        yield opened


@pytest.fixture
def pipeline(tmp_path):
    """Function that returns steps by these names, which append their names to the list."""
    done = []

    def make(*names, **settings):
        def step(name):
            output = StoragePath(tmp_path / f"{name}.json")

            def work(run):
                done.append(name)
                output.write_text("{}")

            return Step(name=name, title=f"do {name}", output=output, work=work, **settings)

        return [step(name) for name in names]

    return make, done


def test_steps_are_done_once_and_in_order(run, pipeline):
    make, done = pipeline
    assert list(runner.run_steps(make("a", "b"), run)) == ["do a", "do b"]
    assert list(runner.run_steps(make("a", "b", "c"), run)) == ["do a", "do b", "do c"]
    assert done == ["a", "b", "c"]


def test_a_step_that_repeats_is_done_in_every_call(run, pipeline):
    make, done = pipeline
    for _ in range(2):
        runner.run_steps(make("report", repeats=True), run)
    assert done == ["report", "report"]


def test_a_step_that_is_not_needed_is_passed_over(run, pipeline):
    make, done = pipeline
    runner.run_steps([*make("a", needed=lambda: False), *make("b")], run)
    assert done == ["b"]


def test_a_failed_step_ends_the_call_and_is_done_again_in_the_next(run, pipeline):
    make, done = pipeline
    broken = make("b")[0]

    def fail(run):
        raise UserError("no")

    steps = [*make("a"), Step(name="b", title="b", output=broken.output, work=fail), *make("c")]
    with pytest.raises(UserError):
        runner.run_steps(steps, run)
    assert done == ["a"]
    runner.run_steps(make("a", "b", "c"), run)
    assert done == ["a", "b", "c"]


def test_until_ends_after_the_named_step(run, pipeline):
    make, done = pipeline
    assert list(runner.run_steps(make("a", "b", "c"), run, until="b")) == ["do a", "do b"]
    assert done == ["a", "b"]
    with pytest.raises(UserError, match="--until: no step is named 'bb'; known: a, b; did you"):
        runner.run_steps(make("a", "b"), run, until="bb")


def test_status_says_which_steps_are_finished_and_which_were_skipped(run, pipeline):
    make, _ = pipeline
    steps = [*make("no", needed=lambda: False), *make("a", "long")]
    assert runner.status(steps).count("-  ") == 3
    runner.run_steps(steps, run, until="a")
    assert runner.status(steps).splitlines() == [
        "skipped   no    do no",
        "finished  a     do a",
        "-         long  do long",
    ]


def test_the_status_of_a_run_that_does_not_exist_creates_nothing(tmp_path, capsys):
    root = tmp_path / "runs"
    assert main(["quickstart", f"--config=configs/quickstart.py:root={root}", "--status"]) == 0
    assert capsys.readouterr().out.count("-  ") == 18
    assert not root.exists()
