"""The programs of a slot engine: pure functions of parameters and slots that run on the device."""

import dataclasses
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, PyTree, UInt32

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation.prompt_batch import PromptBatch
from teacherlm_jax.generation.sampling import sample
from teacherlm_jax.generation.slot_state import SlotState, constrained
from teacherlm_jax.models.cache import KVCache, store_prompts


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
        steps: maximum number of tokens that one decoding samples per slot.
        adapted: whether the model has several adapters, of which each text has one.
    """

    graph: nnx.GraphDef
    slots: int
    cache_length: int
    sampling: SamplingConfig
    eos_id: int
    drawable: Collection[int] | None
    steps: int
    adapted: bool = False

    def empty(self, parameters: PyTree) -> SlotState:
        """Return free slots."""
        model = nnx.merge(self.graph, parameters)
        return constrained(
            SlotState(
                cache=model.empty_cache(self.slots, self.cache_length),
                tokens=jnp.zeros((self.slots, self.cache_length), jnp.int32),
                starts=jnp.zeros(self.slots, jnp.int32),
                limits=jnp.zeros(self.slots, jnp.int32),
                keys=jnp.zeros((self.slots, 2), jnp.uint32),
                active=jnp.zeros(self.slots, bool),
                adapters=jnp.zeros(self.slots, jnp.int32) if self.adapted else None,
            )
        )

    def prefill(self, parameters: PyTree, slots: SlotState, prompts: PromptBatch) -> SlotState:
        """Read prompts into slots, and sample the first token after each."""
        model = nnx.merge(self.graph, parameters)
        logits, read = model.read_prompts(
            *(prompts.prefixes, prompts.prefix_lengths, prompts.suffixes, prompts.suffix_lengths),
            adapters=prompts.adapters,
        )
        rows, targets = prompts.tokens(self.cache_length), prompts.targets.reshape(-1)
        keys, lengths = prompts.keys.reshape(-1, 2), prompts.lengths.reshape(-1)
        limits = prompts.limits.reshape(-1)
        first = self._draw(
            logits.reshape(len(rows), -1), keys, jnp.zeros_like(lengths), rows, lengths
        )
        rows = rows.at[jnp.arange(len(rows)), lengths].set(first)
        return constrained(
            SlotState(
                cache=store_prompts(
                    slots.cache,
                    read,
                    prompts.targets,
                    prompts.prefix_lengths,
                    prompts.suffix_lengths,
                ),
                tokens=slots.tokens.at[targets].set(rows, mode="drop"),
                starts=slots.starts.at[targets].set(lengths, mode="drop"),
                limits=slots.limits.at[targets].set(limits, mode="drop"),
                keys=slots.keys.at[targets].set(keys, mode="drop"),
                active=slots.active.at[targets].set(
                    self._unfinished(first, jnp.ones_like(limits), limits), mode="drop"
                ),
                adapters=self._placed_adapters(slots, prompts),
            )
        )

    def decode(
        self,
        parameters: PyTree,
        slots: SlotState,
        keep: Bool[Array, " B"],
        until_free: Int[Array, ""],
        window: int,
    ) -> SlotState:
        """Sample up to `steps` tokens in each active slot.

        Args:
            parameters: the model's.
            slots: the slots.
            keep: slots whose texts go on; the others end.
            until_free: number of free slots at which sampling stops earlier.
            window: entries of the cache that are read.
        """
        model = nnx.merge(self.graph, parameters)
        rows = jnp.arange(self.slots)
        slots = dataclasses.replace(slots, active=slots.active & keep)

        def step(carry):
            count, slots = carry
            lengths = slots.cache.lengths
            # Finished slots attend to nothing, which takes no time on a CPU.
            attended = jnp.where(slots.active, lengths, 0)
            logits, cache = model.decode(
                slots.tokens[rows, lengths],
                dataclasses.replace(slots.cache, lengths=attended),
                window,
                slots.adapters,
            )
            longer = lengths + slots.active.astype(jnp.int32)  # a finished slot keeps its length
            drawn = self._draw(logits, slots.keys, lengths - slots.starts + 1, slots.tokens, longer)
            # A finished slot writes out of bounds, which drops the token.
            column = jnp.where(slots.active, longer, self.cache_length)
            more = self._unfinished(drawn, longer - slots.starts + 1, slots.limits)
            return count + 1, constrained(
                SlotState(
                    cache=KVCache(cache.k, cache.v, longer),
                    tokens=slots.tokens.at[rows, column].set(drawn, mode="drop"),
                    starts=slots.starts,
                    limits=slots.limits,
                    keys=slots.keys,
                    active=slots.active & more,
                    adapters=slots.adapters,
                )
            )

        def proceeds(carry):
            active = jnp.sum(carry[1].active.astype(jnp.int32))
            return (carry[0] < self.steps) & (active > 0) & (self.slots - active < until_free)

        return jax.lax.while_loop(proceeds, step, (0, slots))[1]

    def _placed_adapters(self, slots: SlotState, prompts: PromptBatch) -> Int[Array, " B"] | None:
        """Return the adapter of each slot, with those of the prompts that are read into slots."""
        if slots.adapters is None or prompts.adapters is None:
            return None
        own = jnp.repeat(prompts.adapters, prompts.targets.shape[1])
        return slots.adapters.at[prompts.targets.reshape(-1)].set(own, mode="drop")

    def _draw(
        self,
        logits: Float32[Array, "B V"],
        keys: UInt32[Array, "B 2"],
        counters: Int[Array, " B"],
        tokens: Int[Array, "B S"],
        lengths: Int[Array, " B"],
    ) -> Int[Array, " B"]:
        if self.drawable is not None:
            allowed = np.isin(np.arange(logits.shape[-1]), list(self.drawable))
            logits = jnp.where(allowed[None], logits, -jnp.inf)
        history = {"tokens": tokens, "lengths": lengths}
        return sample(logits, keys, counters, self.sampling, eos_id=self.eos_id, **history)

    def _unfinished(
        self, token: Int[Array, " B"], counts: Int[Array, " B"], limits: Int[Array, " B"]
    ) -> Bool[Array, " B"]:
        return (token != self.eos_id) & (counts < limits)
