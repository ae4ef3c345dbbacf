"""The causal language model that all families share, with stacked and scanned blocks.

Compile time does not grow with depth. A family defines the input of the first block (`_embed`), the
steps after the last block (`_finish`), and its ALiBi slopes, if any.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32, Int

from teacherlm_jax.config import LoraConfig, ModelConfig
from teacherlm_jax.models import int8
from teacherlm_jax.models.attention import attention
from teacherlm_jax.models.attention_cached import attend_after_prefix, attend_to_cache
from teacherlm_jax.models.block import Block
from teacherlm_jax.models.cache import KVCache, PromptKeys
from teacherlm_jax.models.embedding import look_up
from teacherlm_jax.models.layers import Projection
from teacherlm_jax.models.parameter import parameter

# Remat policies: "dots" keeps the results of the projections and recomputes the rest.
REMAT: dict[str, Callable] = {
    "none": lambda f: f,
    "dots": lambda f: jax.checkpoint(
        f, prevent_cse=False, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    ),
    "full": lambda f: jax.checkpoint(f, prevent_cse=False),
}

# What a forward pass returns from every layer.
_NOTHING, _BLOCK_INPUTS, _KEYS = range(3)


class Decoder(nnx.Module):
    """The whole model. Build it with `registry.build`, which checks the config.

    It computes in `config.dtype`; norm statistics, attention scores and logits are float32.

    Attributes:
        max_positions: longest text in tokens; 0: no limit.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, lora: LoraConfig | None = None):
        dtype = jnp.dtype(config.param_dtype)
        normal = nnx.initializers.normal(config.initializer_range)
        shape = (config.vocab_size, config.embedding_width or config.width)
        self.embedding = parameter(rngs, normal, shape, ("vocab", "embed"), dtype)
        if not config.tied:
            self.head = parameter(rngs, normal, shape, ("vocab", "embed"), dtype)
        self.blocks = Block(config, rngs, lora)
        # Plain values, so that the graph definition can be hashed (the config cannot).
        self.layers, self.heads = config.layers, config.heads
        self.head_width = config.width // config.heads
        self.max_positions, self.tied = config.max_positions, config.tied
        self.dtype, self.remat, self.attention = config.dtype, config.remat, config.attention
        self.quantized = False

    def quantize(self) -> None:
        """Take kernels and tables in int8, as zeros; `int8.quantized` makes the values.

        Norms, biases and learned positions stay as they are.
        """
        for _, module in list(nnx.iter_modules(self)):
            if isinstance(module, Projection):
                module.quantize()
        self.embedding, self.embedding_scale = int8.as_int8(self.embedding, [1])
        if not self.tied:
            self.head, self.head_scale = int8.as_int8(self.head, [1])
        self.quantized = True

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"] | None = None,
        segment_ids: Int[Array, "B T"] | None = None,
    ) -> Float32[Array, "B T V"]:
        """Return the logits of the token after each token. By default a row is one text."""
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
    ) -> Float[Array, "B T E"]:
        """Return the input of the head: the last layer's output after the final norm.

        It is in the compute dtype and as wide as the embedding. `positions` restart at 0 with each
        text of a row; `segment_ids` distinguish the texts and are 0 for padding, where the output
        is meaningless.
        """
        return self._finish(self._forward(tokens, positions, segment_ids, _NOTHING)[0])

    def hidden_states(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment_ids: Int[Array, "B T"],
    ) -> Float[Array, "I B T D"]:
        """Return the input of each block, then the output of the last one before the final norm.

        I = L + 1. For inspecting a model; `hidden` does not keep them.
        """
        last, inputs = self._forward(tokens, positions, segment_ids, _BLOCK_INPUTS)
        return jnp.concatenate([inputs, last[None]])

    def logits(self, hidden: Float[Array, "*batch E"]) -> Float32[Array, "*batch V"]:
        """Return logits over the vocabulary, given the output of `hidden`."""
        table, scale = self._head()
        if scale is not None:
            # Or the compiler converts the table before the loop of a decode, and keeps that copy.
            hidden, table = jax.lax.optimization_barrier((hidden, table))
        table = table.astype(hidden.dtype)
        logits = jnp.einsum("...E,VE->...V", hidden, table, preferred_element_type=jnp.float32)
        return logits if scale is None else logits * scale.reshape((1,) * (logits.ndim - 1) + (-1,))

    def head_table(self) -> Float[Array, "V E"]:
        """Return the head's kernel in its own dtype; the embedding if they are tied."""
        table, scale = self._head()
        return table if scale is None else int8.dequantized(table, scale)

    def _head(self):
        """Return the head's kernel, and its scale if it is in int8."""
        table = (self.embedding if self.tied else self.head)[...]
        if not self.quantized:
            return table, None
        return table, (self.embedding_scale if self.tied else self.head_scale)[...]

    def empty_cache(self, rows: int, cache_length: int) -> KVCache:
        """Return an empty cache with room for `cache_length` tokens in each of `rows` rows."""
        shape = (self.layers, rows, cache_length, self.heads * self.head_width)
        zeros = jnp.zeros(shape, self.dtype)
        return KVCache(zeros, zeros, jnp.zeros(rows, jnp.int32))

    def read_prompts(
        self,
        prefixes: Int[Array, "G T"],
        prefix_lengths: Int[Array, " G"],
        suffixes: Int[Array, "G K R"],
        suffix_lengths: Int[Array, "G K"],
        adapters: Int[Array, " G"] | None = None,
    ) -> tuple[Float32[Array, "G K V"], PromptKeys]:
        """Run the model on prompts, of which K at a time share a prefix, which is run once.

        Args:
            prefixes: the shared tokens, right-padded to T.
            prefix_lengths: their number, at least 0.
            suffixes: the rest of each prompt, right-padded to R.
            suffix_lengths: their number, at least 1.
            adapters: with stacked adapters, the index of that of each prefix and its prompts.

        Returns the logits after the last token of each prompt, and the keys and values of all.
        """
        G, K = suffix_lengths.shape
        y, kept = self._continued(
            prefixes, prefix_lengths, suffixes, suffix_lengths, adapters, keep=_KEYS
        )
        last = jnp.take_along_axis(y, suffix_lengths.reshape(G * K, 1, 1) - 1, axis=1)
        return self.logits(self._finish(last))[:, 0].reshape(G, K, -1), PromptKeys(*kept)

    def hidden_after_prefix(
        self,
        prefixes: Int[Array, "G T"],
        prefix_lengths: Int[Array, " G"],
        suffixes: Int[Array, "G K R"],
        suffix_lengths: Int[Array, "G K"],
    ) -> Float[Array, "G K R E"]:
        """Return the output of `hidden` for K suffixes of each prefix, which is run once.

        The arguments are those of `read_prompts`. The output is meaningless at padding.
        """
        y, _ = self._continued(prefixes, prefix_lengths, suffixes, suffix_lengths, None, _NOTHING)
        return self._finish(y).reshape(*suffixes.shape, -1)

    def decode(
        self,
        tokens: Int[Array, " B"],
        cache: KVCache,
        window: int | None = None,
        adapters: Int[Array, " B"] | None = None,
    ) -> tuple[Float32[Array, "B V"], KVCache]:
        """Append one token to each row; return the logits after it and the updated cache.

        With a `window`, only the first `window` entries of the cache are read, which is faster and
        gives the same result if every `lengths[b]` is smaller. If a row of the cache is full, its
        token is dropped and its logits are meaningless. With stacked adapters, `adapters` has the
        index of each row's.
        """
        entries = (jnp.arange(tokens.shape[0]), cache.lengths)

        def layer(carry, inputs):
            x, keys, values = carry
            block, index = inputs

            def attend(q, k, v):
                kept = (
                    keys.at[index, *entries].set(_folded(k)[:, 0]),
                    values.at[index, *entries].set(_folded(v)[:, 0]),
                )
                mixed = attend_to_cache(
                    *(q[:, 0], *kept, index),
                    alibi_slopes=self._slopes(),
                    lengths=cache.lengths,
                    window=window,
                )
                return mixed[:, None], kept

            x, (keys, values) = self._block(block)(x, attend, adapters)
            return (x, keys, values), None

        start = (self._embed(tokens[:, None], cache.lengths[:, None]), cache.k, cache.v)
        inputs = (self._stacked(), jnp.arange(self.layers))
        (x, keys, values), _ = jax.lax.scan(layer, start, inputs)
        logits = self.logits(self._finish(x))[:, 0]
        return logits, KVCache(keys, values, cache.lengths + 1)

    def _continued(self, prefixes, prefix_lengths, suffixes, suffix_lengths, adapters, keep):
        """Return the last block's output for suffixes [G*K R D], and what `keep` names."""
        G, K, R = suffixes.shape
        entries, steps = jnp.arange(prefixes.shape[1])[None], jnp.arange(R)[None, None]
        segment_ids = (entries < prefix_lengths[:, None]).astype(jnp.int32)
        positions = entries * segment_ids  # padding may be longer than the learned positions
        steps = jnp.minimum(steps, suffix_lengths[..., None] - 1)
        after = (prefix_lengths[:, None, None] + steps).reshape(G * K, R)
        attend_prefix = self._attend_within(positions, segment_ids)
        of_suffixes = None if adapters is None else jnp.repeat(adapters, K)

        def attend_suffix(prefix, q, k, v):
            apart = [a.reshape(G, K, *a.shape[1:]) for a in (q, k, v)]
            mixed = attend_after_prefix(
                apart[0],
                (apart[1], apart[2]),
                prefix,
                alibi_slopes=self._slopes(),
                prefix_lengths=prefix_lengths,
            )
            return mixed.reshape(q.shape), (apart[1], apart[2])

        def layer(carry, state):
            x, y = carry
            block = self._block(state)
            x, prefix = block(x, attend_prefix, adapters)
            y, own = block(y, functools.partial(attend_suffix, prefix), of_suffixes)
            keys = tuple(_folded(a) for a in (*prefix, *own)) if keep == _KEYS else None
            return (x, y), keys

        start = self._embed(prefixes, positions), self._embed(suffixes.reshape(G * K, R), after)
        (_, y), kept = jax.lax.scan(layer, start, self._stacked())
        return y, kept

    def _forward(self, tokens, positions, segment_ids, keep):
        """Return the last block's output [B T D], and what `keep` names of all layers, stacked."""
        attend = self._attend_within(positions, segment_ids)

        def layer(x, block):
            after, _ = self._block(block)(x, attend)
            return after, x if keep == _BLOCK_INPUTS else None

        embedded = self._embed(tokens, positions)
        return jax.lax.scan(REMAT[self.remat](layer), embedded, self._stacked())

    def _attend_within(self, positions, segment_ids):
        """Return the attention of packed rows, which keeps their keys and values."""

        def attend(q, k, v):
            mixed = attention(
                q,
                k,
                v,
                alibi_slopes=self._slopes(),
                positions=positions,
                segment_ids=segment_ids,
                implementation=self.attention,
            )
            return mixed, (k, v)

        return attend

    def _embed(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Return the input of the first block."""
        raise NotImplementedError

    def _finish(self, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        """Return the input of the head, given the output of the last block."""
        raise NotImplementedError

    def _slopes(self) -> Float[Array, " N"] | None:
        """Return the ALiBi slopes; None in families without ALiBi."""
        return None

    def _look_up(
        self, table: nnx.Param, ids: Int[Array, "B T"], scale: nnx.Param | None = None
    ) -> Float[Array, "B T E"]:
        scales = None if scale is None else scale[...]
        return look_up(table[...], ids, table.axes, self.dtype, scales)

    def _embedded(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        """Return the rows of the embedding for these tokens."""
        scale = self.embedding_scale if self.quantized else None
        return self._look_up(self.embedding, tokens, scale)

    def _stacked(self):
        return nnx.split(self.blocks)[1]

    def _block(self, state):
        """Return the block with one layer's slice of the parameters."""
        return nnx.merge(nnx.graphdef(self.blocks), state)


def _folded(heads: Float[Array, "*batch N H"]) -> Float[Array, "*batch D"]:
    """Return keys or values with all heads in one axis, as in `KVCache`."""
    return heads.reshape(*heads.shape[:-2], -1)
