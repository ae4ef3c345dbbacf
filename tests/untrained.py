"""One way for tests to make the run folder of a model that nobody trained."""

import jax.numpy as jnp
from flax import nnx

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import registry


def save_untrained(folder, vocabulary, seed=0, **shape):
    """Save a tiny model with random parameters as step 7 of a run; return the folder."""
    tiny = {"layers": 1, "width": 16, "heads": 2, "vocab_size": vocabulary.size}
    config = ModelConfig(**tiny | {"dtype": "float32"} | shape)
    params = nnx.to_pure_dict(nnx.split(registry.build(config, nnx.Rngs(seed)))[1])
    vocabulary.save(folder / "vocabulary")
    checkpoints = Checkpoints(folder)
    meta = {"model": vars(config), "vocabulary": vocabulary.digest}
    checkpoints.save(7, params, {"step": jnp.int32(7)}, meta)
    checkpoints.close()
    return folder
