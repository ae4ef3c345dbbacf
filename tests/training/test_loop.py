import dataclasses
import logging
import shutil
import signal
import sys
import types

import jax
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.config import (
    CheckpointConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.setup import fit_to_vocabulary
from tests.make_run import make_run
from tests.tracking.events import events_of

SHARDED = MeshConfig(data=2, fsdp=2, tensor=2)


@pytest.fixture(scope="module")
def config(prepared):
    return TrainConfig(
        output="runs/unused",
        data=str(prepared),
        # Rows beyond the vocabulary, so that the mesh divides them.
        model=ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2, weight_decay=0.1),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(every=3, keep=2),
        batch_size=8,
        steps=6,
        log_every=1,
    )


class Lines(logging.Handler):
    """Handler that collects messages and sends a signal after one that begins with `signal_at`."""

    def __init__(self, signal_at="", number=signal.SIGTERM):
        super().__init__()
        self.messages = []
        self._signal_at, self._number = signal_at, number

    def emit(self, record):
        self.messages.append(record.getMessage())
        if self._signal_at and record.getMessage().startswith(self._signal_at):
            for _ in range(2 if self._number == signal.SIGHUP else 1):  # as a closed terminal does
                signal.raise_signal(self._number)


def open_run(path, signal_at="", number=signal.SIGTERM):
    log = logging.Logger("run", logging.INFO)
    log.addHandler(Lines(signal_at, number))
    return make_run(path, log)


def lines(run):
    return run.log.handlers[0].messages


def parameters(path):
    loaded = saved_model.load_model(path, sharding.make_mesh(MeshConfig()))
    return jax.device_get(nnx.to_pure_dict(nnx.state(loaded.model))), loaded


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """An uninterrupted run and its result."""
    run = open_run(tmp_path_factory.mktemp("finished"))
    result = train(config, run)
    run.finish(result)
    return run, result


def test_a_run_learns_logs_and_saves(finished, config):
    run, result = finished
    manifest = files.read_json(f"{config.data}/manifest.json")
    first = next(line for line in lines(run) if line.startswith("step 1/6"))
    assert 0 < result["loss"] < float(first.split()[3]) - 0.2
    assert result["steps"] == 6
    assert 0 < result["tokens"] <= 6 * 8 * manifest["length"]
    assert result["tokens_per_second"] == result["tokens"] / result["seconds"]
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["3", "6"]
    assert result["checkpoint"] == str(run.path / "checkpoints" / "6")
    params, loaded = parameters(run.path)
    assert result["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert loaded.step == 6 and loaded.config.vocab_size == 400
    (events,) = (run.path / "tensorboard").iterdir()
    tracked = {name: value for step, name, value in events_of(events) if step == 6}
    assert tracked["train/loss"] == tracked["result/loss"] == np.float32(result["loss"])


def test_opt_trains_with_the_same_program_and_equally_on_every_mesh(config, tmp_path):
    like_350m = {"max_positions": 32, "embedding_width": 8, "norm": "after"}
    model = dataclasses.replace(config.model, family="opt", **like_350m)
    opt = dataclasses.replace(config, model=model, steps=4)
    run = open_run(tmp_path / "one")
    loss = train(opt, run)["loss"]
    first = next(line for line in lines(run) if line.startswith("step 1/4"))
    assert 0 < loss < float(first.split()[3]) - 0.1
    sharded = train(dataclasses.replace(opt, mesh=SHARDED), open_run(tmp_path / "sharded"))
    assert sharded["loss"] == pytest.approx(loss, rel=1e-5)
    assert parameters(tmp_path / "one")[1].config == model


def test_a_run_that_was_saved_at_its_end_is_not_trained_again(finished, config):
    run, result = finished
    again = open_run(run.path)
    assert train(config, again) == result
    assert not any(line.startswith("step") for line in lines(again))


def test_a_closed_terminal_saves_a_run_unless_the_signal_is_ignored(config, tmp_path):
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with pytest.raises(Interrupted, match="SIGHUP: saved at step 3 of 6") as interruption:
            train(config, open_run(tmp_path, "step 2/6", signal.SIGHUP))
        assert interruption.value.status == 129
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert train(config, open_run(tmp_path, "step 4/6", signal.SIGHUP))["step"] == 6
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, handler)


def test_a_run_stopped_by_sigterm_and_resumed_is_bit_equal_to_an_uninterrupted_one(
    finished, config, tmp_path, monkeypatch
):
    rows = []
    monkeypatch.setitem(sys.modules, "my_service", types.SimpleNamespace(
        track=lambda run: lambda scalars, step: rows.append((step, scalars))
    ))  # fmt: skip
    config = dataclasses.replace(config, track=("tensorboard", "my_service:track"))
    handler = signal.getsignal(signal.SIGTERM)
    stopped = open_run(tmp_path, signal_at="step 4/6")
    with pytest.raises(Interrupted, match="SIGTERM: saved at step 5 of 6") as interruption:
        train(config, stopped)
    assert interruption.value.status == 143
    assert signal.getsignal(signal.SIGTERM) is handler

    resumed = open_run(tmp_path)
    result = train(config, resumed)
    assert [line.split()[1] for line in lines(resumed) if line.startswith("step")] == ["6/6"]
    expected_run, expected = finished
    for key in ("loss", "accuracy", "tokens", "steps"):
        assert result[key] == expected[key]
    ours, theirs = parameters(tmp_path), parameters(expected_run.path)
    jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])
    assert ours[1].digest == theirs[1].digest
    assert [step for step, _ in rows] == [1, 2, 3, 4, 5, 6, 6]
    metrics = [row for _, row in files.read_jsonl(tmp_path / "metrics.jsonl")]
    assert [scalars["train/loss"] for _, scalars in rows[:6]] == [row["loss"] for row in metrics]
    assert rows[-1][1]["result/loss"] == result["loss"]


def test_a_run_resumes_with_the_same_rows_on_another_mesh(finished, config, tmp_path):
    stopped = open_run(tmp_path, signal_at="step 2/6")
    with pytest.raises(Interrupted):
        train(config, stopped)
    result = train(dataclasses.replace(config, mesh=SHARDED), open_run(tmp_path))
    _, expected = finished
    assert result["tokens"] == expected["tokens"]
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_a_stage_starts_from_the_parameters_of_another_run(finished, config, tmp_path):
    run, earlier = finished
    stage = dataclasses.replace(config, init_from=str(run.path), steps=3)
    opened = open_run(tmp_path)
    train(stage, opened)
    first = next(line for line in lines(opened) if line.startswith("step 1/3"))
    assert float(first.split()[3]) < earlier["loss"] + 0.5 < np.log(400) - 1
    assert parameters(run.path)[1].digest != parameters(tmp_path)[1].digest


def test_a_run_that_was_refused_can_be_corrected_in_the_same_folder(config, tmp_path):
    def attempt(settings):
        with run_folder.open_run(str(tmp_path / "run"), "train", settings) as run:
            return train(settings, run)

    with pytest.raises(UserError, match="nowhere: no such folder"):
        attempt(dataclasses.replace(config, init_from="nowhere"))
    assert attempt(config)["step"] == config.steps


def test_a_start_from_other_shapes_is_refused_by_parameter(finished, config, tmp_path):
    model = dataclasses.replace(config.model, vocab_size=408)
    stage = dataclasses.replace(config, init_from=str(finished[0].path), model=model)
    message = r"embedding in params is float32\[400, 16\], but the run expects float32\[408, 16\]"
    with pytest.raises(UserError, match=message):
        train(stage, open_run(tmp_path))


def test_a_start_from_another_epsilon_is_refused_although_the_shapes_agree(
    finished, config, tmp_path
):
    model = dataclasses.replace(config.model, layer_norm_epsilon=1e-6)
    other = dataclasses.replace(config, init_from=str(finished[0].path), model=model)
    with pytest.raises(UserError, match=r"its layer_norm_epsilon is 1e-05, but .* is 1e-06; set"):
        train(other, open_run(tmp_path))


def test_changed_data_is_refused_when_a_run_resumes(finished, config, tmp_path, prepared):
    stopped = open_run(tmp_path / "run", signal_at="step 1/6")
    with pytest.raises(Interrupted):
        train(config, stopped)
    manifest = files.read_json(prepared / "manifest.json")
    changed = tmp_path / "prepared"
    changed.mkdir()
    for path in prepared.iterdir():
        if path.name != "manifest.json":
            (changed / path.name).symlink_to(path)
    files.write_json(changed / "manifest.json", {**manifest, "seed": 1})
    with pytest.raises(UserError, match="was trained on data .its manifest. with the digest"):
        train(dataclasses.replace(config, data=str(changed)), open_run(tmp_path / "run"))
    assert train(config, open_run(tmp_path / "run"))["step"] == config.steps  # with the old data


def test_a_loss_that_is_not_finite_ends_the_run_and_is_never_saved(config, tmp_path):
    optimizer = OptimizerConfig(learning_rate=1e30)
    saving = CheckpointConfig(every=1, keep=1)
    wild = dataclasses.replace(config, optimizer=optimizer, checkpoint=saving, log_every=50)
    run = open_run(tmp_path)
    with pytest.raises(UserError, match=r"^step \d: the loss is (nan|inf)") as refusal:
        train(wild, run)
    step = int(str(refusal.value).split(":")[0].split()[1])
    assert parameters(tmp_path)[1].step == step - 1
    again = "train again in another config.output with a lower config.optimizer.learning_rate or"
    assert again in str(refusal.value)
    assert train(config, open_run(tmp_path / "again"))["step"] == config.steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ""}, "config.data: empty"),
        ({"steps": 0}, r"config.steps: 0 is not in \[1, inf\)"),
        ({"batch_size": 0}, r"config.batch_size: 0 is not in \[1, inf\)"),
        ({"log_every": 0}, r"config.log_every: 0 is not in \[1, inf\)"),
        ({"loss_block": 0}, r"config.loss_block: 0 is not in \[1, inf\)"),
        ({"seed": -1}, "config.seed: -1 is not in"),
        ({"checkpoint": CheckpointConfig(every=-1)}, "config.checkpoint.every: -1 is not in"),
        ({"checkpoint": CheckpointConfig(keep=0)}, "config.checkpoint.keep: 0 is not in"),
        (
            {"optimizer": OptimizerConfig(learning_rate=0)},
            "config.optimizer.learning_rate: 0",
        ),
        (
            {"optimizer": OptimizerConfig(final_fraction=0.1)},
            "config.optimizer.final_fraction: 0.1 has no effect while the learning rate is",
        ),
        ({"batch_size": 12}, "config.batch_size=12: not divisible by 8"),
        ({"mesh": MeshConfig(data=3)}, "config.mesh"),
        (
            {"model": ModelConfig(width=10, heads=4)},
            "config.model.width: 10 is not divisible",
        ),
        ({"init_from": "nowhere"}, "nowhere: no such folder"),
        (
            {"model": ModelConfig("opt", max_positions=31)},
            "texts of up to 32 tokens, but the model has learned positions for only 31",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_key(config, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(config, **changes), open_run(tmp_path))
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_data_without_a_trained_token_is_refused_by_key(config, without_loss, tmp_path):
    with pytest.raises(
        UserError, match=r"^config.data=.*: the loss mask of all \d+ packed rows is empty"
    ):
        train(dataclasses.replace(config, data=str(without_loss)), open_run(tmp_path))
    assert not (tmp_path / "checkpoints").exists()


def test_vocab_size_is_that_of_the_vocabulary_unless_it_is_set_larger():
    model = ModelConfig(vocab_size=0)
    assert fit_to_vocabulary(model, 300).vocab_size == 300
    assert fit_to_vocabulary(dataclasses.replace(model, vocab_size=320), 300).vocab_size == 320
    with pytest.raises(
        UserError, match="config.model.vocab_size=256.*has 300 ids; set it to 300 or more"
    ):
        fit_to_vocabulary(dataclasses.replace(model, vocab_size=256), 300)


def test_rows_of_another_vocabulary_are_refused(config, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    train_sentencepiece(["four five six"] * 9, data / "vocabulary", size=400, seed=0)
    with pytest.raises(
        UserError, match="data/vocabulary: has the digest .* rows were tokenized with"
    ):
        train(dataclasses.replace(config, data=str(data)), open_run(tmp_path / "run"))


def test_altered_rows_are_refused_before_training(config, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    shard = next(data.glob("rows-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(UserError, match=f"{shard.name}.*digest"):
        train(dataclasses.replace(config, data=str(data)), open_run(tmp_path / "run"))
