import dataclasses
import math
import shutil

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import (
    CheckpointConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)
from teacherlm_jax.data import prepared as prepared_folder
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.training import held_out, validation
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.setup import make_run_spec
from teacherlm_jax.training.validation import Validation

from .test_loop import open_run


@pytest.fixture
def config(prepared):
    return TrainConfig(
        output="runs/unused",
        data=str(prepared),
        model=ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32"),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(best=1),
        validation=ValidationConfig(every=1, data=str(prepared), rows=11, metric="held_out/loss"),
        batch_size=16,
        steps=2,
    )


def opened(config, run):
    mesh = sharding.make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        spec = make_run_spec(config, prepared_folder.open(config.data), mesh)
        return Validation(config, run, spec, mesh, held_out.open_data(config, spec))


def test_a_model_with_a_nan_loss_on_held_out_rows_is_not_saved_and_trained_again_as_advised(
    config, tmp_path
):
    wild = dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=1e30))
    with pytest.raises(
        UserError,
        match=r"config.validation.data=.*: the loss of this run's model on these rows is (nan|inf)"
        ".*; train again in another config.output with a lower config.optimizer.learning_rate",
    ):
        train(wild, open_run(tmp_path / "run"))
    assert not (tmp_path / "run/validation.jsonl").exists()
    assert not list((tmp_path / "run/checkpoints").glob("[0-9]*"))
    lower = dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=1e-4))
    assert math.isfinite(train(lower, open_run(tmp_path / "again"))["best_metric"])


def test_held_out_rows_are_read_in_batches_of_the_size_that_training_has_in_memory(
    config, tmp_path, monkeypatch
):
    shapes = []

    def recorded(model, batch, block):
        shapes.append(batch["tokens"].shape)
        return loss(model, batch, block)

    loss = held_out.next_token_loss
    monkeypatch.setattr(held_out, "next_token_loss", recorded)
    train(dataclasses.replace(config, accumulate=2, steps=1), open_run(tmp_path))
    assert shapes == [(8, 32)]


def test_texts_longer_than_the_model_has_positions_are_refused(config, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "longer")
    manifest = files.read_json(data / "manifest.json")
    inputs = {**manifest["inputs"], "max_tokens": 33}
    files.write_json(data / "manifest.json", {**manifest, "inputs": inputs})
    longer = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, family="opt", max_positions=32),
        validation=dataclasses.replace(config.validation, data=str(data)),
    )
    with pytest.raises(UserError, match="config.validation.data=.* of up to 33 tokens, but the"):
        opened(longer, open_run(tmp_path / "run"))


def test_held_out_rows_without_a_trained_token_are_refused_by_key(config, without_loss, tmp_path):
    nothing = dataclasses.replace(config.validation, data=str(without_loss))
    message = r"^config.validation.data=.*: the loss mask of all 11 packed rows is empty"
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(config, validation=nothing), open_run(tmp_path))
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_every_process_knows_the_measurements_of_the_first(config, tmp_path, monkeypatch):
    run = open_run(tmp_path)
    rows = [{"step": step, "held_out/loss": 1.0} for step in (1, 2)]
    files.write_jsonl(tmp_path / "validation.jsonl", rows)
    assert not opened(config, run).due(2)
    monkeypatch.setattr(validation.distributed, "of_first", lambda make: make()[:1])
    assert opened(config, run).due(2)
