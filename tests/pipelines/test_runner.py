"""Steps of a pipeline: order, resumption, failures, and what the options select."""

import re
import sys
import time
from types import SimpleNamespace

import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.config import PipelineOptions, QuickstartConfig
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import runner, step_process
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.pipelines.step_records import StepDigests, StepRecords
from teacherlm_jax.runs import layout, run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

# Stands for a command: it waits for a file if told to, writes its result, or fails on cue.
COMMAND = """
import os, pathlib, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(folder / "calls", "a") as file:
    file.write(name + "\\n")
until = time.monotonic() + 20
while len(sys.argv) > 3 and not (folder / sys.argv[3] / "begun").exists():
    assert time.monotonic() < until, "the other step did not begin"
    time.sleep(0.02)
(folder / name).mkdir(exist_ok=True)
(folder / name / "begun").touch()
if (folder / f"{name}.killed").exists():
    os.kill(os.getpid(), 9)
failures = folder / f"{name}.failures"
left = int(failures.read_text()) if failures.exists() else 0
if left:
    failures.write_text(str(left - 1))
    sys.exit(3)
print("done", name)
(folder / name / "result.json").write_text("{}")
"""


@pytest.fixture
def run(tmp_path):
    config = QuickstartConfig(output=str(tmp_path / "runs"))
    with run_folder.open_run(config.output, "quickstart", config) as opened:
        yield opened


@pytest.fixture
def pipeline(tmp_path):
    """Function that returns steps by these names, which append their names to the list.

    Each step needs the one before it.
    """
    done = []

    def make(*names, **settings):
        def step(name, before):
            output = StoragePath(tmp_path / f"{name}.json")

            def work(run):
                done.append(name)
                output.write_text("{}")

            needs = (before,) if before else ()
            return Step(
                name=name, title=f"do {name}", output=output, work=work, after=needs, **settings
            )

        return [step(name, before) for name, before in zip(names, ("", *names), strict=False)]

    return make, done


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Function that returns steps which are commands, from the steps that each needs, by name.

    `waits` names a step that another one must have begun before it ends; `inputs` has digests.
    """
    program = tmp_path / "program.py"
    program.write_text(COMMAND)
    popen = step_process.subprocess.Popen
    monkeypatch.setattr(
        step_process.subprocess,
        "Popen",
        lambda words, **settings: popen([sys.executable, str(program), *words[3:]], **settings),
    )

    def make(needs, waits=None, inputs=None):
        def step(name, before):
            words = (str(tmp_path), name, *((waits or {}).get(name, "").split()))
            result = tmp_path / name / "result.json"
            return Step(
                name=name,
                title=name.upper(),
                output=StoragePath(tmp_path / name),
                words=lambda run: words,
                after=before,
                digests=lambda: StepDigests(
                    name, {"data": (inputs or {}).get(name, "")}, str(result.exists())
                ),
            )

        return [step(name, tuple(before.split())) for name, before in needs.items()]

    return make


def calls(folder):
    path = folder / "calls"
    return path.read_text().split() if path.exists() else []


def test_steps_are_done_once_and_in_order(run, pipeline):
    make, done = pipeline
    assert list(runner.run_steps(make("a", "b"), run)) == ["a", "b"]
    assert list(runner.run_steps(make("a", "b", "c"), run)) == ["a", "b", "c"]
    assert done == ["a", "b", "c"]


def test_the_time_of_a_call_is_not_the_sum_of_steps_side_by_side(run, commands, monkeypatch):
    # Every second counts as a thousand, so that short steps differ by more than the log rounds.
    clock = SimpleNamespace(monotonic=lambda: 1000 * time.monotonic(), sleep=time.sleep)
    for module in (runner, step_process):
        monkeypatch.setattr(module, "time", clock)
    steps = commands(dict.fromkeys("abcd", ""), waits=dict.fromkeys("abc", "d"))
    seconds = runner.run_steps(steps, run, PipelineOptions(processes=4))
    (line,) = re.findall("== done in (.*) s", (run.path / layout.LOG).read_text())
    assert max(seconds.values()) - 1 <= int(line) < sum(seconds.values()) - 1


def test_a_step_that_repeats_is_done_in_every_call(run, pipeline):
    make, done = pipeline
    for _ in range(2):
        runner.run_steps(make("report", repeats=True), run)
    assert done == ["report", "report"]


def test_a_step_that_is_not_needed_is_passed_over(run, pipeline):
    make, done = pipeline
    runner.run_steps([*make("a", needed=lambda: False), *make("b")], run)
    assert done == ["b"]


def test_an_error_of_a_step_ends_the_call_and_it_is_done_again_in_the_next(run, pipeline):
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


def test_until_does_the_named_step_and_those_that_it_needs(run, pipeline, commands, tmp_path):
    make, done = pipeline
    until = PipelineOptions(until="b")
    assert runner.run_steps(make("a", "b", "c"), run, until) is None, "c is left"
    assert done == ["a", "b"]
    with pytest.raises(UserError, match="--until: no step is named 'bb'; known: a, b; did you"):
        runner.run_steps(make("a", "b"), run, PipelineOptions(until="bb"))
    tree = commands({"x": "", "y": "", "z": "x"})
    runner.run_steps(tree, run, PipelineOptions(until="z"))
    assert calls(tmp_path) == ["x", "z"], "y is not needed"


def test_from_does_the_named_step_and_those_that_need_it(run, commands, tmp_path):
    tree = commands({"a": "", "b": "a", "other": "", "c": "b other"})
    with pytest.raises(UserError, match="step 'b' needs 'a', which is not finished; .*--until=a"):
        runner.run_steps(tree, run, PipelineOptions(from_="b"))
    assert calls(tmp_path) == []
    runner.run_steps(tree, run, PipelineOptions(until="a"))
    runner.run_steps(tree, run, PipelineOptions(from_="b", until="b"))
    assert calls(tmp_path) == ["a", "b"]
    with pytest.raises(UserError, match="--until=a: this step does not need 'b'"):
        runner.run_steps(tree, run, PipelineOptions(from_="b", until="a"))


def test_steps_that_do_not_need_each_other_run_side_by_side(run, commands, tmp_path, capfd):
    # Each of the two ends only when the other one has begun.
    tree = commands({"a": "", "b": "a", "c": "a"}, waits={"b": "c"})
    runner.run_steps(tree, run, PipelineOptions(processes=2))
    assert calls(tmp_path)[0] == "a"
    assert sorted(calls(tmp_path)) == ["a", "b", "c"]
    shown = capfd.readouterr().out
    assert "[b] done b" in shown and "[c] done c" in shown


def test_at_most_so_many_processes_run_at_once(run, commands, monkeypatch):
    most = []
    start = runner._Schedule._start

    def counted(schedule, *given):
        start(schedule, *given)
        most.append(len(schedule._running))

    monkeypatch.setattr(runner._Schedule, "_start", counted)
    runner.run_steps(commands(dict.fromkeys("abcd", "")), run, PipelineOptions(processes=2))
    assert max(most) == 2


def test_a_step_that_fails_leaves_those_that_need_it_and_no_others(run, commands, tmp_path):
    (tmp_path / "a.failures").write_text("1")
    tree = commands({"a": "", "b": "a", "other": "", "c": "b"})
    with pytest.raises(UserError) as raised:
        runner.run_steps(tree, run)
    assert str(raised.value) == (
        "step 'A' failed with status 3; steps that need it and were not run: 2; see its message "
        "above, correct the cause, and repeat the command: finished steps are not repeated"
    )
    assert calls(tmp_path) == ["a", "other"]
    assert StepRecords(run.path).failure("a") == 3
    assert "failed    a" in runner.status(tree, StepRecords(run.path))
    runner.run_steps(tree, run)
    assert calls(tmp_path) == ["a", "other", "a", "b", "c"]


def test_all_steps_that_failed_are_named(run, commands, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.failures").write_text("1")
    with pytest.raises(
        UserError,
        match=r"^2 steps failed: 'A' \(status 3\), 'B' \(status 3\); steps that need them ",
    ):
        runner.run_steps(commands({"a": "", "b": "", "c": "a b"}), run)


def test_a_step_that_fails_is_retried(run, commands, tmp_path):
    (tmp_path / "a.failures").write_text("2")
    tree = commands({"a": "", "b": "a"})
    with pytest.raises(UserError, match="step 'A' failed with status 3"):
        runner.run_steps(tree, run, PipelineOptions(retries=1))
    assert calls(tmp_path) == ["a", "a"]
    (tmp_path / "a.failures").write_text("2")
    runner.run_steps(tree, run, PipelineOptions(retries=2))
    assert calls(tmp_path) == ["a"] * 5 + ["b"]


def test_a_step_whose_inputs_changed_is_run_again(run, commands, tmp_path, caplog):
    needs = {"a": "", "b": "a"}
    runner.run_steps(commands(needs, inputs={"b": "one"}), run)
    runner.run_steps(commands(needs, inputs={"b": "one"}), run)
    assert calls(tmp_path) == ["a", "b"]
    changed = commands(needs, inputs={"b": "two"})
    assert runner.status(changed, StepRecords(run.path)).splitlines() == [
        "finished  a  A",
        "changed   b  B",
    ]
    runner.run_steps(changed, run)
    assert calls(tmp_path) == ["a", "b", "b"]
    assert f"{tmp_path / 'b'}: changed since it finished: data" in caplog.messages


def test_a_step_whose_input_was_edited_while_it_ran_is_run_again(run, commands, tmp_path):
    class Edited(dict):
        def get(self, name, default):
            return "edited" if (tmp_path / name / "begun").exists() else "first"

    for times in (1, 2, 2):
        runner.run_steps(commands({"a": ""}, inputs=Edited(a="")), run)
        assert calls(tmp_path) == ["a"] * times


def test_a_result_that_no_pipeline_recorded_is_left_to_its_command(run, commands, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/result.json").write_text("{}")
    tree = commands({"a": ""})
    assert runner.status(tree, StepRecords(run.path)).startswith("-")
    runner.run_steps(tree, run)
    assert calls(tmp_path) == ["a"]


def test_a_step_that_a_signal_ended_leaves_the_status_of_the_signal(run, commands, tmp_path):
    (tmp_path / "a.killed").touch()
    with pytest.raises(Interrupted, match="stopped in step 'A'; repeat the command") as raised:
        runner.run_steps(commands({"a": ""}), run)
    assert raised.value.status == 137


def test_a_step_that_a_signal_ended_does_not_hide_the_others_that_failed(run, commands, tmp_path):
    (tmp_path / "a.killed").touch()
    (tmp_path / "b.failures").write_text("1")
    with pytest.raises(UserError, match=r"2 steps failed: 'A' \(status -9\), 'B' \(status 3\)"):
        runner.run_steps(commands({"a": "", "b": ""}), run)


def test_a_finished_pipeline_that_is_continued_is_not_finished(tmp_path, pipeline):
    make, _ = pipeline
    output = str(tmp_path / "runs")

    def opened(steps):
        steps = tuple({"name": name} for name in steps)
        settings = QuickstartConfig(output=output, steps=steps)
        return run_folder.open_run(output, "quickstart", settings, may_change=("steps",))

    with opened("a") as run:
        runner.run_steps(make("a"), run)
        run.finish({"seconds": {}})
    with opened("a") as run:
        runner.run_steps(make("a"), run)
        assert run.result is not None  # nothing was to do
    with opened("ab") as run:
        runner.run_steps(make("a"), run)
        assert run.result is not None
        runner.run_steps(make("a", "b"), run)
        assert run.result is None
    recorded = files.read_json(f"{output}/config.json")["config"]["steps"]
    assert [step["name"] for step in recorded] == ["a", "b"]


def test_a_step_that_failed_and_was_done_by_hand_is_finished(run, pipeline):
    make, _ = pipeline
    steps, records = make("a", "b"), StepRecords(run.path)
    records.fail("a", 2)
    assert runner.status(steps, records).startswith("failed ")
    steps[0].output.write_text("{}")
    assert runner.status(steps, records).startswith("finished ")
    runner.run_steps(steps, run)
    assert StepRecords(run.path).failure("a") is None


def test_a_missing_input_is_known_before_the_first_step(run, commands, tmp_path):
    steps = commands({"a": "", "b": "a"})
    last = Step(**{**vars(steps[1]), "inputs": (str(tmp_path / "absent.jsonl"),)})
    with pytest.raises(UserError, match=r"absent.jsonl: no such file or folder, and the step 'b'"):
        runner.run_steps([steps[0], last], run)
    assert calls(tmp_path) == []
    runner.run_steps([steps[0], last], run, PipelineOptions(until="a"))
    (tmp_path / "absent.jsonl").touch()
    runner.run_steps([steps[0], last], run)
    assert calls(tmp_path) == ["a", "b"]


def test_status_says_which_steps_are_finished_and_which_were_skipped(run, pipeline):
    make, _ = pipeline
    steps = [*make("no", needed=lambda: False), *make("a", "long")]
    records = StepRecords(run.path)
    assert runner.status(steps, records).count("-  ") == 3
    runner.run_steps(steps[:2], run)
    assert runner.status(steps, records).splitlines() == [
        "skipped   no    do no",
        "finished  a     do a",
        "-         long  do long",
    ]


def test_the_status_of_a_run_that_does_not_exist_creates_nothing(tmp_path, capsys):
    root = tmp_path / "runs"
    assert main(["quickstart", f"--config=configs/quickstart.py:root={root}", "--status"]) == 0
    assert capsys.readouterr().out.count("-  ") == 18
    assert not root.exists()
