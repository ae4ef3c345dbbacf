"""Advice in messages about trainings that need too much memory or diverge, followed."""

import dataclasses
import math
import re
import signal

import jax
import pytest

from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import CheckpointConfig, MeshConfig, ModelConfig, TrainConfig
from teacherlm_jax.data import prepared as prepared_rows
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.training import device_memory
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.setup import make_run_spec

from .test_loop import config, open_run  # noqa: F401 (a fixture)

MIB = 2**20


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


@pytest.fixture
def check(prepared, monkeypatch):
    """Function that checks a training on devices with so many bytes each."""
    monkeypatch.setattr(capacity, "sharing", lambda mesh: 1)

    def call(limit, length, batch_size, fsdp=1, tensor=1, accumulate=1, **model):
        model = {"layers": 1, "width": 64, "heads": 8, "vocab_size": 400} | model
        settings = TrainConfig(
            *("runs/x", str(prepared)),
            model=ModelConfig(**model),
            mesh=MeshConfig(1, fsdp, tensor),
            batch_size=batch_size,
            accumulate=accumulate,
        )
        mesh = sharding.make_mesh(settings.mesh, jax.devices()[: fsdp * tensor])
        monkeypatch.setattr(capacity, "available", lambda device: limit)
        with jax.set_mesh(mesh):
            spec = make_run_spec(settings, prepared_rows.open(prepared), mesh)
        device_memory.refuse_too_large(settings, spec, mesh, length)

    return call


def test_a_training_fits_with_a_smaller_model_or_on_the_devices_that_a_message_names(check):
    def attempt(fsdp=1, layers=16):
        check(8 * MIB, length=1, batch_size=8, fsdp=fsdp, layers=layers, width=128)

    message = refusal(attempt)
    devices = re.search(
        r"; use a smaller model, or config\.mesh\.fsdp over at least (\d+)", message
    )
    assert int(devices[1]) == 8
    assert "before activations" in refusal(attempt, 4)
    attempt(8)
    attempt(layers=1)


def test_a_training_fits_with_a_smaller_batch(check):
    def attempt(batch_size):
        check(128 * MIB, 1024, batch_size)

    message = refusal(attempt, 64)
    assert (
        message.startswith("config.batch_size=64: ") and "; lower config.batch_size, or" in message
    )
    attempt(1)


@pytest.mark.parametrize("remedy", [{"heads": 1, "width": 32}, {"length": 128}, {"tensor": 8}])
def test_one_row_fits_after_each_remedy(check, remedy):
    settings = {"length": 1024, "batch_size": 8, "accumulate": 8, "remat": "full"}
    message = refusal(lambda: check(16 * MIB, **settings))
    assert "with config.model.remat='full' and the largest config.accumulate; use" in message
    assert message.endswith("model, shorter rows, or more devices along config.mesh.tensor")
    check(16 * MIB, **settings | remedy)


TRAIN_AGAIN = (
    "train again in another config.output with a lower config.optimizer.learning_rate or more "
    "config.optimizer.warmup_steps (to start from a checkpoint that this run saved before its "
)


def test_a_training_that_diverged_starts_from_a_checkpoint_that_it_saved_before(
    config,  # noqa: F811
    tmp_path,
):
    """The rate of a run cannot change; the test changes it to make the loss rise."""
    sane = dataclasses.replace(config, checkpoint=CheckpointConfig(every=1, keep=9))
    with pytest.raises(Interrupted):
        train(sane, open_run(tmp_path / "run", "step 2/", signal.SIGTERM))
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30)
    message = refusal(
        train, dataclasses.replace(sane, optimizer=optimizer), open_run(tmp_path / "run")
    )
    assert f": {TRAIN_AGAIN}" in message and "set config.init_from to that checkpoint)" in message
    start = dataclasses.replace(config, init_from=str(tmp_path / "run/checkpoints/2"), steps=3)
    assert math.isfinite(train(start, open_run(tmp_path / "again"))["loss"])


def test_a_training_that_diverged_passes_that_step_with_more_warmup_steps(
    config,  # noqa: F811
    tmp_path,
):
    """A long warm-up lowers the rates of the first steps, from 1e10 to 10."""
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e10, warmup_steps=0)
    wild = dataclasses.replace(config, optimizer=optimizer)
    message = refusal(train, wild, open_run(tmp_path / "run"))
    assert f": {TRAIN_AGAIN}" in message
    step = int(re.match(r"step (\d+): ", message)[1])
    optimizer = dataclasses.replace(optimizer, warmup_steps=10**9)
    longer = dataclasses.replace(wild, optimizer=optimizer, steps=10**9 + 1)
    with pytest.raises(Interrupted):
        train(longer, open_run(tmp_path / "again", f"step {step}/"))
