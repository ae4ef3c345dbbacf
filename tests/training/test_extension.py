import dataclasses

import jax
import numpy as np
import pytest

from teacherlm_jax.config import (
    CheckpointConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import recorded_settings, run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.run_inputs import inputs

from .test_loop import Lines, parameters


@pytest.fixture(scope="module")
def config(prepared):
    return TrainConfig(
        data=str(prepared),
        model=ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2, weight_decay=0.1),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(every=3, keep=1),
        batch_size=8,
        steps=8,
        log_every=1,  # so that the loss of a result is that of its last step
    )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run of 8 steps."""
    output = str(tmp_path_factory.mktemp("whole") / "run")
    return output, verbs.run("train", dataclasses.replace(config, output=output))


def assert_equal_runs(output, result, whole):
    for key in ("loss", "accuracy", "tokens", "step", "steps", "parameters"):
        assert result[key] == whole[1][key], key
    ours, theirs = parameters(output), parameters(whole[0])
    jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])
    assert ours[1].digest == theirs[1].digest


def test_a_finished_run_extended_to_more_steps_is_bit_equal_to_one_that_had_them_from_the_start(
    config, whole, tmp_path, capsys
):
    short = dataclasses.replace(config, output=str(tmp_path / "run"), steps=5)
    assert verbs.run("train", short)["step"] == 5
    capsys.readouterr()
    longer = dataclasses.replace(short, steps=8)
    result = verbs.run("train", longer)
    shown = capsys.readouterr().out
    assert f"{tmp_path}/run: extending this run: config.steps=8 (was 5)\n" in shown
    assert "step 6/8" in shown and "step 5/" not in shown
    assert_equal_runs(tmp_path / "run", result, whole)
    assert files.read_json(tmp_path / "run/result.json") == result
    assert files.read_json(tmp_path / "run/config.json")["config"]["steps"] == 8
    assert verbs.run("train", longer) == result
    assert "finished before" in capsys.readouterr().out


def test_an_extension_that_failed_before_its_first_step_is_begun_again(
    config, whole, tmp_path, monkeypatch
):
    short = dataclasses.replace(config, output=str(tmp_path / "run"), steps=5)
    verbs.run("train", short)
    longer = dataclasses.replace(short, steps=8)

    def fail():
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorded_settings, "versions", fail)
        with pytest.raises(OSError, match="No space"):
            verbs.run("train", longer)
    assert_equal_runs(tmp_path / "run", verbs.run("train", longer), whole)


def test_a_stopped_run_can_be_extended_and_an_extension_can_be_stopped(config, whole, tmp_path):
    def stop(settings, step):
        with run_folder.open_run(settings.output, "train", settings) as run:
            run.check_inputs(inputs(settings))
            run.log.addHandler(Lines(signal_at=f"step {step}/"))
            with pytest.raises(Interrupted, match="SIGTERM: saved at step"):
                train(settings, run)

    short = dataclasses.replace(config, output=str(tmp_path / "run"), steps=6)
    stop(short, 2)
    longer = dataclasses.replace(short, steps=7)
    verbs.run("train", longer)
    (tmp_path / "run/result.json").unlink()
    assert_equal_runs(
        tmp_path / "run", verbs.run("train", dataclasses.replace(longer, steps=8)), whole
    )
    assert len(files.read_json(tmp_path / "run/versions.json")["before"]) == 2


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_whose_learning_rate_decays_is_not_extended_and_the_reason_is_given(
    config, tmp_path, finished
):
    optimizer = dataclasses.replace(config.optimizer, schedule="cosine")
    decaying = dataclasses.replace(
        config, output=str(tmp_path / "run"), optimizer=optimizer, steps=4
    )
    result = verbs.run("train", decaying)
    if not finished:
        (tmp_path / "run/result.json").unlink()
    with pytest.raises(
        UserError,
        match=r"config.steps=8: .* started with 4 steps and cannot be extended, because .*'cosine' "
        "the learning rate of every step depends on steps",
    ):
        verbs.run("train", dataclasses.replace(decaying, steps=8))
    assert verbs.run("train", decaying)["loss"] == result["loss"]
    onward = {"output": str(tmp_path / "next"), "init_from": decaying.output, "steps": 3}
    assert verbs.run("train", dataclasses.replace(decaying, **onward))["step"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 7}, "started with config.steps=8, but now config.steps=7; choose another"),
        ({"steps": 9, "seed": 1}, "started with config.seed=0, but now config.seed=1"),
        (
            {"steps": 9, "optimizer": OptimizerConfig(schedule="linear")},
            "config.optimizer.learning_rate=0.02",
        ),
    ],
)
def test_a_run_keeps_its_other_settings_and_its_steps(config, whole, changes, message):
    before = dataclasses.replace(config, output=whole[0])
    with pytest.raises(UserError, match=message):
        verbs.run("train", dataclasses.replace(before, **changes))
    assert verbs.run("train", before) == whole[1]


def test_changed_inputs_are_refused_before_the_result_is_removed(config, whole, without_loss):
    other = dataclasses.replace(config, output=whole[0], data=str(without_loss), steps=9)
    with pytest.raises(UserError, match="inputs changed since this run was started: config.data="):
        verbs.run("train", other)
    assert verbs.run("train", dataclasses.replace(config, output=whole[0])) == whole[1]
