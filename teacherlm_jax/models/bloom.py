"""BLOOM (arXiv 2211.05100): a decoder with ALiBi and a head tied to its normalised embedding.

Follows transformers' `BloomForCausalLM`, without dropout, which BLOOM's checkpoints do not use.
Layers are stacked and scanned, so that compile time does not grow with depth.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32, Int

from teacherlm_jax import sharding
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models import alibi
from teacherlm_jax.models.attention import attend_to_cache, attention
from teacherlm_jax.models.cache import KVCache
from teacherlm_jax.models.layers import Norm, Projection, gelu, parameter

_ACTIVATION = ("batch", "length", "embed")
_HEADS = ("batch", "length", "heads", "head_dim")

# What the backward pass computes again. "dots" keeps the results of the projections.
REMAT = {
    "none": lambda f: f,
    "dots": lambda f: jax.checkpoint(
        f, prevent_cse=False, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    ),
    "full": lambda f: jax.checkpoint(f, prevent_cse=False),
}


class Block(nnx.Module):
    """One pre-norm block: attention, then MLP. Holds the parameters of all L layers, stacked."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, N, H, F = config.width, config.heads, config.width // config.heads, 4 * config.width
        dtype, layers = jnp.dtype(config.param_dtype), config.layers
        normal = nnx.initializers.normal(config.initializer_range)
        project = functools.partial(
            Projection, initializer=normal, dtype=dtype, rngs=rngs, layers=layers
        )
        self.attention_norm = Norm(D, config.layer_norm_epsilon, dtype, rngs, layers)
        # Query, key and value of a head lie side by side, as in BLOOM's own checkpoints.
        self.query_key_value = project(
            "BTD,DNK->BTNK", (D, N, 3 * H), ("embed", "heads", "head_dim"), bias_dims=2
        )
        self.attention_output = project(
            "BTNH,NHD->BTD", (N, H, D), ("heads", "head_dim", "embed"), bias_dims=1
        )
        self.mlp_norm = Norm(D, config.layer_norm_epsilon, dtype, rngs, layers)
        self.up = project("BTD,DF->BTF", (D, F), ("embed", "mlp"), bias_dims=1)
        self.down = project("BTF,FD->BTD", (F, D), ("mlp", "embed"), bias_dims=1)

    def __call__(self, x: Float[Array, "B T D"], attend: Callable) -> tuple[Array, Any]:
        """`attend(q, k, v)` gives the mixed values [B T N H] and what the caller wants kept."""
        heads = self.query_key_value(self.attention_norm(x))
        q, k, v = (sharding.constrain(a, _HEADS) for a in jnp.split(heads, 3, axis=-1))
        mixed, kept = attend(q, k, v)
        x = sharding.constrain(x + self.attention_output(mixed), _ACTIVATION)
        wide = gelu(self.up(self.mlp_norm(x)))
        wide = sharding.constrain(wide, ("batch", "length", "mlp"))
        return sharding.constrain(x + self.down(wide), _ACTIVATION), kept


class Bloom(nnx.Module):
    """The whole model. Build it with `registry.build`, which checks the config.

    It computes in `config.dtype`; norms' statistics, attention's scores and logits are float32.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.param_dtype)
        normal = nnx.initializers.normal(config.initializer_range)
        shape, axes = (config.vocab_size, config.width), ("vocab", "embed")
        self.embedding = parameter(rngs, normal, shape, axes, dtype)
        self.embedding_norm = Norm(config.width, config.layer_norm_epsilon, dtype, rngs)
        self.blocks = Block(config, rngs)
        self.final_norm = Norm(config.width, config.layer_norm_epsilon, dtype, rngs)
        # Plain values, so that the graph definition can be hashed (the config cannot).
        self.layers, self.heads = config.layers, config.heads
        self.dtype, self.remat, self.attention = config.dtype, config.remat, config.attention

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"] | None = None,
        segment_ids: Int[Array, "B T"] | None = None,
    ) -> Float32[Array, "B T V"]:
        """Logits of the token that follows each token. By default a row is one text."""
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        if segment_ids is None:
            segment_ids = jnp.ones_like(tokens)
        return self.logits(self.hidden(tokens, positions, segment_ids))

    def hidden(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment_ids: Int[Array, "B T"],
    ) -> Float[Array, "B T D"]:
        """The last layer's output after the final norm, in the compute dtype.

        `positions` restart at 0 with each text of a row, `segment_ids` tell the texts apart and are
        0 on padding, where the output means nothing.
        """
        return self._forward(tokens, positions, segment_ids, keep=False)[0]

    def logits(self, hidden: Float[Array, "*batch D"]) -> Float32[Array, "*batch V"]:
        """Hidden states to logits over the vocabulary, by the tied head."""
        table = self.embedding[...].astype(hidden.dtype)
        return jnp.einsum("...D,VD->...V", hidden, table, preferred_element_type=jnp.float32)

    def empty_cache(self, rows: int, cache_length: int) -> KVCache:
        """A cache with room for `cache_length` tokens in each of `rows` rows, holding none."""
        head_width = self.embedding.shape[1] // self.heads
        shape = (self.layers, rows, cache_length, self.heads, head_width)
        zeros = jnp.zeros(shape, self.dtype)
        return KVCache(zeros, zeros, jnp.zeros(rows, jnp.int32))

    def prefill(
        self, tokens: Int[Array, "B T"], lengths: Int[Array, "B"], cache_length: int
    ) -> tuple[Float32[Array, "B V"], KVCache]:
        """Reads prompts, right-padded to T, the real tokens of row b being the first `lengths[b]`.

        Gives the logits after each prompt's last token, and a cache with room for `cache_length`
        tokens a row (at least T), prompt included.
        """
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        segment_ids = (positions < lengths[:, None]).astype(jnp.int32)
        x, (k, v) = self._forward(tokens, positions, segment_ids, keep=True)
        last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
        room = [(0, 0), (0, 0), (0, cache_length - tokens.shape[1]), (0, 0), (0, 0)]
        return self.logits(last), KVCache(jnp.pad(k, room), jnp.pad(v, room), lengths)

    def decode(
        self, tokens: Int[Array, "B"], cache: KVCache, window: int | None = None
    ) -> tuple[Float32[Array, "B V"], KVCache]:
        """Appends one token to each row; gives the logits after it and the cache that holds it.

        With a `window`, only the cache's first `window` entries are read: faster, and the same
        where every `lengths[b]` is below it. A full row loses the token; its logits mean nothing.
        """
        where = (jnp.arange(tokens.shape[0]), cache.lengths)

        def layer(carry, inputs):
            x, keys, values = carry
            block, index = inputs

            def attend(q, k, v):
                kept = keys.at[index, *where].set(k[:, 0]), values.at[index, *where].set(v[:, 0])
                mixed = attend_to_cache(
                    q[:, 0],
                    *(sharding.constrain(array[index, :, :window], _HEADS) for array in kept),
                    alibi_slopes=self._slopes(),
                    lengths=cache.lengths,
                )
                return mixed[:, None], kept

            x, (keys, values) = self._block(block)(x, attend)
            return (x, keys, values), None

        start = (self._embed(tokens[:, None]), cache.k, cache.v)
        inputs = (self._stacked(), jnp.arange(self.layers))
        (x, keys, values), _ = jax.lax.scan(layer, start, inputs)
        logits = self.logits(self.final_norm(x[:, 0]))
        return logits, KVCache(keys, values, cache.lengths + 1)

    def _forward(self, tokens, positions, segment_ids, keep):
        """Hidden states and, when kept, the keys and values of all layers, [L B T N H] each."""

        def attend(q, k, v):
            mixed = attention(
                q,
                k,
                v,
                alibi_slopes=self._slopes(),
                query_positions=positions,
                key_positions=positions,
                query_segment_ids=segment_ids,
                key_segment_ids=segment_ids,
                implementation=self.attention,
            )
            return mixed, (k, v) if keep else None

        def layer(x, block):
            return self._block(block)(x, attend)

        x, kept = jax.lax.scan(REMAT[self.remat](layer), self._embed(tokens), self._stacked())
        return self.final_norm(x), kept

    def _embed(self, tokens):
        x = jnp.take(self.embedding[...], tokens, axis=0).astype(self.dtype)
        return sharding.constrain(self.embedding_norm(x), _ACTIVATION)

    def _slopes(self):
        return jnp.asarray(alibi.slopes(self.heads))

    def _stacked(self):
        return nnx.split(self.blocks)[1]

    def _block(self, state):
        """The block as a module whose parameters are one layer's slice."""
        return nnx.merge(nnx.graphdef(self.blocks), state)
