"""The programs of a slot engine: pure functions of parameters and slots that run on the device."""

import dataclasses
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, PyTree, UInt32

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation.sampling import sample
from teacherlm_jax.generation.slot_state import SlotState, constrained
from teacherlm_jax.models.cache import KVCache


@dataclasses.dataclass(frozen=True, eq=False)
class SlotPrograms:
    """Programs for one model and one number of slots, to be compiled by the engine.

    Attributes:
        graph: graph definition of the model.
        slots: number of texts generated at the same time.
        cache_length: entries of the KV cache per slot.
        sampling: settings of the sampling.
        eos_id: id that ends a text.
        drawable: ids that may be sampled; None: all rows of the model's table.
        steps: most tokens that one decoding samples per slot.
    """

    graph: nnx.GraphDef
    slots: int
    cache_length: int
    sampling: SamplingConfig
    eos_id: int
    drawable: Collection[int] | None
    steps: int

    def empty(self, parameters: PyTree) -> SlotState:
        """Return free slots."""
        model = nnx.merge(self.graph, parameters)
        return SlotState(
            cache=constrained(model.empty_cache(self.slots, self.cache_length)),
            written=jnp.zeros((self.slots, self.sampling.max_new_tokens), jnp.int32),
            counts=jnp.zeros(self.slots, jnp.int32),
            keys=jnp.zeros((self.slots, 2), jnp.uint32),
            active=jnp.zeros(self.slots, bool),
        )

    def prefill(
        self,
        parameters: PyTree,
        slots: SlotState,
        tokens: Int[Array, "G T"],
        lengths: Int[Array, " G"],
        keys: UInt32[Array, "G 2"],
        targets: Int[Array, " G"],
    ) -> SlotState:
        """Read a group of prompts into the slots `targets` and sample the first token of each."""
        model = nnx.merge(self.graph, parameters)
        logits, new = model.prefill(tokens, lengths, tokens.shape[1])
        first = self._draw(logits, keys, jnp.zeros_like(lengths))
        cache, room = slots.cache, min(tokens.shape[1], self.cache_length)
        return SlotState(
            cache=constrained(
                KVCache(
                    cache.k.at[:, targets, :room].set(new.k[:, :, :room], mode="drop"),
                    cache.v.at[:, targets, :room].set(new.v[:, :, :room], mode="drop"),
                    cache.lengths.at[targets].set(lengths, mode="drop"),
                )
            ),
            written=slots.written.at[targets, 0].set(first, mode="drop"),
            counts=slots.counts.at[targets].set(1, mode="drop"),
            keys=slots.keys.at[targets].set(keys, mode="drop"),
            active=slots.active.at[targets].set(self._unfinished(first, 1), mode="drop"),
        )

    def decode(self, parameters: PyTree, slots: SlotState, window: int) -> SlotState:
        """Sample up to `steps` tokens in each active slot; stop when none is active."""
        model = nnx.merge(self.graph, parameters)
        rows = jnp.arange(self.slots)

        def step(carry):
            count, slots = carry
            newest = slots.written[rows, slots.counts - 1]
            logits, cache = model.decode(newest, slots.cache, window)
            token = self._draw(logits, slots.keys, slots.counts)
            # A finished slot writes out of bounds, which drops the token, and keeps its length.
            column = jnp.where(slots.active, slots.counts, self.sampling.max_new_tokens)
            counts = slots.counts + slots.active.astype(jnp.int32)
            lengths = jnp.where(slots.active, cache.lengths, slots.cache.lengths)
            return count + 1, SlotState(
                cache=constrained(KVCache(cache.k, cache.v, lengths)),
                written=slots.written.at[rows, column].set(token, mode="drop"),
                counts=counts,
                keys=slots.keys,
                active=slots.active & self._unfinished(token, counts),
            )

        def proceeds(carry):
            return (carry[0] < self.steps) & jnp.any(carry[1].active)

        return jax.lax.while_loop(proceeds, step, (0, slots))[1]

    def _draw(
        self, logits: Float32[Array, "B V"], keys: UInt32[Array, "B 2"], counters: Int[Array, " B"]
    ) -> Int[Array, " B"]:
        if self.drawable is not None:
            allowed = np.isin(np.arange(logits.shape[-1]), list(self.drawable))
            logits = jnp.where(allowed[None], logits, -jnp.inf)
        return sample(logits, keys, counters, self.sampling)

    def _unfinished(
        self, token: Int[Array, " B"], counts: Int[Array, " B"] | int
    ) -> Bool[Array, " B"]:
        return (token != self.eos_id) & (counts < self.sampling.max_new_tokens)
