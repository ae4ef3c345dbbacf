"""OPT (arXiv 2205.01068): learned positions and ReLU; opt-350m differs from the other sizes.

Follows `OPTForCausalLM` in transformers, without dropout, which training here does not use.
opt-350m applies layer norm after each residual sum instead of before attention and MLP, has no
final norm, and its embedding is half as wide as the model, with a projection in and one out.
"""

import functools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.models.block import ACTIVATION
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.layers import Norm, Projection
from teacherlm_jax.models.parameter import parameter

POSITION_OFFSET = 2  # rows of the position table before position 0, as published


class Opt(Decoder):
    """The whole model. Build it with `registry.build`, which checks the config.

    Positions from `max_positions` on have no embedding and give NaN.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, lora: LoraConfig | None = None):
        super().__init__(config, rngs, lora)
        D, E, dtype = config.width, config.embedding_width, jnp.dtype(config.param_dtype)
        normal = nnx.initializers.normal(config.initializer_range)
        rows = config.max_positions + POSITION_OFFSET
        self.position_embedding = parameter(rngs, normal, (rows, D), ("positions", "embed"), dtype)
        self.projected, self.normed = E not in (0, D), config.norm == "before"
        if self.projected:
            project = functools.partial(
                Projection, bias_dims=0, initializer=normal, dtype=dtype, rngs=rngs
            )
            self.project_in = project("BTE,ED->BTD", (E, D), ("narrow", "embed"))
            self.project_out = project("BTD,DE->BTE", (D, E), ("embed", "narrow"))
        if self.normed:
            self.final_norm = Norm(D, config.layer_norm_epsilon, dtype, rngs)

    def _embed(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        x = self._embedded(tokens)
        if self.projected:
            x = self.project_in(x)
        places = self._look_up(self.position_embedding, positions + POSITION_OFFSET)
        return sharding.constrain(x + places, ACTIVATION)

    def _finish(self, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        if self.normed:
            x = self.final_norm(x)
        return self.project_out(x) if self.projected else x
