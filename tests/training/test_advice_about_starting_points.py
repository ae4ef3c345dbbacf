"""Advice in the message about a checkpoint without optimizer state, which works when followed."""

import dataclasses

import pytest

from teacherlm_jax.config import MeshConfig, ModelConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.training.loop import train
from tests.blank_model import save_blank
from tests.make_run import make_run


def test_a_run_starts_from_a_checkpoint_without_optimizer_state_with_init_from(prepared, tmp_path):
    converted = save_blank(tmp_path / "model", Vocabulary.load(prepared / "vocabulary"), {0: 0.01})
    config = TrainConfig(
        output=str(converted),
        data=str(prepared),
        model=ModelConfig(layers=1, width=16, heads=2, dtype="float32"),
        mesh=MeshConfig(data=8),
        batch_size=8,
        steps=1,
    )
    with pytest.raises(UserError) as raised:
        train(config, make_run(converted))
    assert str(raised.value).endswith(
        "; start a new run from it with config.init_from and another config.output"
    )
    new = dataclasses.replace(config, output=str(tmp_path / "new"), init_from=str(converted))
    assert train(new, make_run(tmp_path / "new"))["step"] == 1
