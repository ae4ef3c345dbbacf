"""BLOOM (arXiv 2211.05100): ALiBi instead of position embeddings, layer norm on the embedding.

Follows `BloomForCausalLM` in transformers, without dropout, which BLOOM's checkpoints do not use.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.models import alibi
from teacherlm_jax.models.block import ACTIVATION
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.layers import Norm


class Bloom(Decoder):
    """The whole model. Build it with `registry.build`, which checks the config."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, lora: LoraConfig | None = None):
        super().__init__(config, rngs, lora)
        dtype = jnp.dtype(config.param_dtype)
        self.embedding_norm = Norm(config.width, config.layer_norm_epsilon, dtype, rngs)
        self.final_norm = Norm(config.width, config.layer_norm_epsilon, dtype, rngs)

    def _embed(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        return sharding.constrain(self.embedding_norm(self._embedded(tokens)), ACTIVATION)

    def _finish(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self.final_norm(x)

    def _slopes(self) -> Float[Array, " N"]:
        return jnp.asarray(alibi.slopes(self.heads))
