"""Model families by name, and the shapes of the published ones."""

from flax import nnx

from teacherlm_jax import fields
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import bloom

FAMILIES = {"bloom": bloom.Bloom}


def _bloom(layers: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig("bloom", layers, width, heads, vocab_size=250_880)


SHAPES = {
    "bloom-560m": _bloom(24, 1024, 16),
    "bloom-1b1": _bloom(24, 1536, 16),
    "bloom-1b7": _bloom(24, 2048, 16),
    "bloom-3b": _bloom(30, 2560, 32),
    "bloom-7b1": _bloom(30, 4096, 32),
    "bloom-176b": _bloom(70, 14336, 112),
}


def build(config: ModelConfig, rngs: nnx.Rngs) -> bloom.Bloom:
    """A model with random parameters, drawn from the stream `params` of `rngs`.

    Raises:
      UserError: a field of `config` names nothing we have, or its sizes do not fit together.
    """
    fields.check(config, "config.model")
    if config.vocab_size < 1:
        raise UserError("config.model.vocab_size: 0; a model needs the size of its vocabulary")
    return FAMILIES[config.family](config, rngs)
