"""The commands of a pipeline's steps, which are checked before the first of them is started."""

import pytest

from teacherlm_jax.cli.main import main

FILE = """
from teacherlm_jax import config

def step(name, verb="evaluate", file=__file__ + ":evaluate", **fields):
    return config.StepConfig(
        name=name, title=name, verb=verb, config=file, output="{folder}/runs/" + name, **fields
    )

def steps():
    {steps}

def get_config(variant=""):
    if variant == "evaluate":
        return config.EvaluateConfig(
            output="{folder}/runs/a",
            model="{folder}/model",
            benchmarks=(config.BenchmarkConfig(name="toys", path="rows.jsonl"),),
        )
    return config.PipelineConfig(output="{folder}/runs", steps=tuple(steps()))
"""


@pytest.fixture
def refusal(tmp_path, capsys):
    """Function that returns the message with which a pipeline of these steps is refused."""

    def run(*steps, options=()):
        file = tmp_path / "mine.py"
        lines = "\n    ".join(f"yield {step}" for step in steps) or "return ()"
        file.write_text(FILE.replace("{folder}", str(tmp_path)).replace("{steps}", lines))
        assert main(["pipeline", f"--config={file}", *options]) == 2
        assert not (tmp_path / "runs").exists()
        return capsys.readouterr().err.removeprefix("teacherlm: ").rstrip()

    return run


@pytest.mark.parametrize("options", [(), ("--validate",), ("--dry_run",)])
def test_a_wrong_command_of_a_late_step_is_known_at_once(refusal, options):
    wrong = 'step("b", arguments=("--config.max_lenght=7",))'
    message = refusal('step("a")', wrong, options=options)
    assert message.startswith("step 'b': --config.max_lenght: unknown key; did you mean")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ('step("a", verb="evalute")', "config.steps[0].verb: expected one of 'prepare'"),
        ('step("a", file="absent.py:x")', "step 'a': absent.py: no such config file"),
        ('step("a", verb="train")', "step 'a': .* get_config returned EvaluateConfig"),
        ('step("a b")', "config.steps[0].name: 'a b' cannot name a step"),
        ('step("a"), step("a")', "config.steps[1].name: two steps have the name 'a'"),
    ],
)
def test_a_step_that_cannot_be_run_is_named(refusal, step, message):
    import re

    steps = step.split("), ")
    steps = [f"{one})" if not one.endswith(")") else one for one in steps]
    found = refusal(*steps)
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), found), found


def test_a_step_that_reads_what_a_later_one_writes_is_refused(refusal, tmp_path):
    first = f'step("a", inputs=("{tmp_path}/runs/b/samples",))'
    message = refusal(first, 'step("b")')
    assert "config.steps[0].inputs: 'a' reads the output of 'b', which is not before it" in message


def test_a_pipeline_without_steps_is_refused(refusal):
    assert "config.steps: empty; name at least one StepConfig" in refusal()


def test_the_steps_of_a_pipeline_that_is_moved_alone_are_refused(refusal, tmp_path):
    message = refusal('step("a")', options=(f"--config.output={tmp_path}/other",))
    assert f"the steps write to {tmp_path}/runs/a; move all of them with" in message


def test_a_slice_that_does_not_exist_is_refused_in_the_dry_run(refusal):
    message = refusal('step("a", slice="v5e:3x3")', options=("--dry_run",))
    assert "--topology=v5e:3x3: no slice has this shape" in message
