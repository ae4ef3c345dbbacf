"""A small model with a vocabulary of letters."""

import pytest
from flax import nnx

from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import registry


class Letters:
    """A vocabulary with an id for each letter, from 2 on."""

    begin: tuple[int, ...] = ()
    eos_id = 1

    def encode(self, text):
        return [ord(letter) - ord("a") + 2 for letter in text]

    def decode(self, ids):
        return "".join(chr(int(id) - 2 + ord("a")) for id in ids)

    def drawable(self):
        return list(range(1, 28))


@pytest.fixture(scope="session")
def load():
    """A function that returns a loaded model of a family with random parameters."""

    def loaded(family="bloom", max_positions=0):
        positions = {"max_positions": max_positions} if max_positions else {}
        config = ModelConfig(
            family,
            layers=1,
            width=16,
            heads=2,
            vocab_size=32,
            dtype="float32",
            initializer_range=0.1,
            **positions,
        )
        model = registry.build(config, nnx.Rngs(0))
        return LoadedModel(model, Letters(), config, step=0, digest="")

    return loaded
