"""One way for tests to make the run folder of a model whose parameters all have one value."""

import jax
import numpy as np
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.models import registry


def save_blank(folder, vocabulary, values):
    """Save a tiny model as several steps, given the value of its parameters by step.

    Nothing is computed, which is cheaper than random parameters. Returns the folder.
    """
    config = ModelConfig(layers=1, width=16, heads=2, vocab_size=vocabulary.size, dtype="float32")
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)[1]
    vocabulary.save(folder / "vocabulary")
    checkpoints = Checkpoints(folder, keep=len(values))
    meta = {"model": vars(config), "vocabulary": vocabulary.digest}
    for step, value in values.items():
        params = jax.tree.map(
            lambda leaf, value=value: jax.device_put(
                np.full(leaf.shape, value, leaf.dtype), leaf.sharding
            ),
            abstract,
        )
        checkpoints.save(step, params, None, meta)
    checkpoints.close()
    return folder
