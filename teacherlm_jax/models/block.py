"""The decoder block of all families: attention, then MLP."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.models.layers import Norm, Projection, gelu

ACTIVATION = ("batch", "length", "embed")
HEADS = ("batch", "length", "heads", "head_dim")


class Block(nnx.Module):
    """One block, with layer norms before attention and MLP or after the residual sums.

    Holds the stacked parameters of all L layers; `__call__` computes one layer.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, lora: LoraConfig | None = None):
        D, N, H, F = config.width, config.heads, config.width // config.heads, 4 * config.width
        dtype, layers = jnp.dtype(config.param_dtype), config.layers
        normal = nnx.initializers.normal(config.initializer_range)
        project = functools.partial(
            Projection, initializer=normal, dtype=dtype, rngs=rngs, layers=layers
        )
        self.attention_norm = Norm(D, config.layer_norm_epsilon, dtype, rngs, layers)
        # Query, key and value of a head are adjacent, as in BLOOM's own checkpoints.
        self.query_key_value = project(
            "BTD,DNK->BTNK", (D, N, 3 * H), ("embed", "heads", "head_dim"), bias_dims=2
        )
        self.attention_output = project(
            "BTNH,NHD->BTD", (N, H, D), ("heads", "head_dim", "embed"), bias_dims=1
        )
        self.mlp_norm = Norm(D, config.layer_norm_epsilon, dtype, rngs, layers)
        self.up = project("BTD,DF->BTF", (D, F), ("embed", "mlp"), bias_dims=1)
        self.down = project("BTF,FD->BTD", (F, D), ("mlp", "embed"), bias_dims=1)
        for target in lora.targets if lora else ():
            getattr(self, target).adapt(lora, rngs)
        self.norm_first = config.norm == "before"
        self.activation = {"bloom": gelu, "opt": jax.nn.relu}[config.family]

    def __call__(
        self,
        x: Float[Array, "B T D"],
        attend: Callable,
        adapters: Int[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Apply the block; `attend(q, k, v)` returns mixed values [B T N H] and what to keep.

        With stacked adapters, `adapters` has the index of each row's.
        """
        mixed, kept = attend(*self._heads(self._before(self.attention_norm, x), adapters))
        x = self._after(self.attention_norm, x + self.attention_output(mixed, adapters))
        wide = self.activation(self.up(self._before(self.mlp_norm, x), adapters))
        wide = sharding.constrain(wide, ("batch", "length", "mlp"))
        return self._after(self.mlp_norm, x + self.down(wide, adapters)), kept

    def _heads(self, x, adapters):
        heads = self.query_key_value(x, adapters)
        return (sharding.constrain(a, HEADS) for a in jnp.split(heads, 3, axis=-1))

    def _before(self, norm, x):
        return norm(x) if self.norm_first else x

    def _after(self, norm, x):
        return sharding.constrain(x if self.norm_first else norm(x), ACTIVATION)
