"""A slot engine: texts are generated side by side, and a finished one makes room for the next.

All shapes are fixed, so few programs are compiled: one per bucket of prompt lengths that reads a
group of prompts into slots, and one per window of the KV cache that decodes. The device decodes
several tokens before the host checks which slots have finished.

A text depends on its prompt, its key and the model, not on its slot or on the other texts, except
for the rounding of float sums, whose order may change with the compiled shapes.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float32, Int, PyTree, UInt32

from teacherlm_jax import sharding
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import slot_memory
from teacherlm_jax.generation.requests import Completion, GenerationRequest, WaitingRequests
from teacherlm_jax.generation.sampling import sample
from teacherlm_jax.generation.slot_state import SlotState, constrained, placed
from teacherlm_jax.models.buckets import power_of_two
from teacherlm_jax.models.cache import KVCache
from teacherlm_jax.models.decoder import Decoder

_GROUP = 8  # most prompts in one prefill
_SMALLEST_WINDOW = 64  # entries of the cache


@dataclasses.dataclass(frozen=True)
class EngineProgram:
    """One of the programs that an engine runs.

    Attributes:
        name: its purpose and sizes, as in "prefill of 8 prompts of 512 tokens".
        lowered: ready to be compiled; `lowered.compile()` gives memory and costs.
    """

    name: str
    lowered: jax.stages.Lowered


class Engine:
    """Generates texts with one model. With a mesh, make and use it under `jax.set_mesh(mesh)`."""

    def __init__(
        self,
        model: Decoder,
        *,
        slots: int,
        prompt_length: int,
        sampling: SamplingConfig,
        eos_id: int,
        drawable: Collection[int] | None = None,
        steps_per_sync: int = 16,
    ):
        """Compile nothing yet; check that the settings fit the model, the mesh and the memory.

        Args:
            model: concrete, or with shapes in place of parameters to call `programs` only.
            slots: number of texts generated at the same time.
            prompt_length: most tokens in a prompt.
            sampling: settings of the sampling.
            eos_id: id that ends a text.
            drawable: ids that may be sampled, `eos_id` among them; None: all rows of the model's
                table, which may have more rows than its vocabulary has ids.
            steps_per_sync: tokens decoded per slot between two checks by the host.

        Raises:
            UserError: `sampling` is invalid, `slots` do not fit the mesh in context, the texts
                exceed the model's learned positions, or the KV cache exceeds the free memory.
        """
        fields.check(sampling, "config.sampling")
        ways = batch_ways(slots)
        _refuse_too_long(model.max_positions, prompt_length, sampling.max_new_tokens)
        self._graph, self._parameters = nnx.split(model)
        self._slots, self._prompt_length = slots, prompt_length
        self._sampling, self._eos_id, self._steps = sampling, eos_id, steps_per_sync
        self._cache_length = prompt_length + sampling.max_new_tokens
        self._drawable = None if drawable is None else np.array(sorted(drawable))
        # Few slots must not wait for each other, or the longest text delays the next ones.
        self._worth_reading = max(1, min(slots // 4, _GROUP))
        self._group = ways * math.ceil(self._worth_reading / ways)
        slot_memory.refuse_too_many(self._abstract_slots()[0], self._parameters, slots, ways)
        self._allocate = jax.jit(self._empty)
        self._prefill = jax.jit(self._prefill_step, donate_argnums=1)
        self._decode = jax.jit(self._decode_steps, donate_argnums=1, static_argnums=2)

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[Completion]:
        """Yield completions as they finish; requests are taken as slots become free.

        Raises:
            UserError: a prompt is empty or longer than `prompt_length`, or memory ran out.
        """
        waiting = WaitingRequests(requests, self._prompt_length)
        with slot_memory.report_shortage(self._slots):
            slots = self._allocate(self._parameters)
        running: dict[int, GenerationRequest] = {}  # by slot
        while True:
            free = [slot for slot in range(self._slots) if slot not in running]
            # A prefill takes as long for one prompt as for a group, so let free slots gather.
            if len(free) >= self._worth_reading or not running:
                slots = self._refill(slots, free, running, waiting)
            if not running:
                return
            with slot_memory.report_shortage(self._slots):
                slots = self._decode(self._parameters, slots, self._window(slots))
            yield from self._finished(slots, running)

    def programs(self) -> list[EngineProgram]:
        """Return the prefill of the longest prompts and the decoding over the whole cache.

        Nothing is allocated or run. With abstract parameters the programs are lowered for the mesh
        of their shardings, on devices that need not exist here.
        """
        group, length = self._group, self._prompt_length
        numbers = jax.ShapeDtypeStruct((group,), jnp.int32)
        prompts = (
            jax.ShapeDtypeStruct((group, length), jnp.int32),
            numbers,
            jax.ShapeDtypeStruct((group, 2), jnp.uint32),
            numbers,
        )
        state, tree = self._abstract_slots()

        def prefill(parameters, leaves, *prompts):
            slots = jax.tree.unflatten(tree, leaves)
            return jax.tree.leaves(self._prefill_step(parameters, slots, *prompts))

        def decode(parameters, leaves):
            slots = jax.tree.unflatten(tree, leaves)
            return jax.tree.leaves(self._decode_steps(parameters, slots, self._cache_length))

        return [
            EngineProgram(
                f"prefill of {group} prompts of {length} tokens",
                jax.jit(prefill, donate_argnums=1).lower(self._parameters, state, *prompts),
            ),
            EngineProgram(
                f"decode of {self._steps} tokens in {self._slots} slots",
                jax.jit(decode, donate_argnums=1).lower(self._parameters, state),
            ),
        ]

    def _abstract_slots(self) -> tuple[list[jax.ShapeDtypeStruct], Any]:
        """Return the shapes of all slots, with shardings if the parameters have any, as leaves.

        The second value is the tree of the leaves: a `SlotState` itself holds only arrays.
        """
        names: list[str] = []
        trees = []

        def empty(parameters):
            leaves, tree = jax.tree_util.tree_flatten_with_path(self._empty(parameters))
            names.extend(path[-1].name for path, _ in leaves)
            trees.append(tree)
            return [leaf for _, leaf in leaves]

        shapes = jax.eval_shape(empty, self._parameters)
        placement = getattr(jax.tree.leaves(self._parameters)[0], "sharding", None)
        if isinstance(placement, NamedSharding):
            pairs = zip(names, shapes, strict=True)
            shapes = [placed(name, shape, placement.mesh) for name, shape in pairs]
        return shapes, trees[0]

    def _refill(
        self,
        slots: SlotState,
        free: list[int],
        running: dict[int, GenerationRequest],
        waiting: WaitingRequests,
    ) -> SlotState:
        """Read prompts into free slots until there are no more of either."""
        while free and (taken := waiting.take(min(len(free), self._group), ahead=len(free))):
            bucket, requests = taken
            tokens = np.zeros((self._group, bucket), np.int32)
            lengths = np.ones(self._group, np.int32)
            keys = np.zeros((self._group, 2), np.uint32)
            targets = np.full(self._group, self._slots, np.int32)  # no such slot: dropped
            for row, request in enumerate(requests):
                lengths[row] = len(request.tokens)
                tokens[row, : lengths[row]] = request.tokens
                keys[row], targets[row] = request.key, free.pop(0)
                running[int(targets[row])] = request
            with slot_memory.report_shortage(self._slots):
                slots = self._prefill(self._parameters, slots, tokens, lengths, keys, targets)
        return slots

    def _window(self, slots: SlotState) -> int:
        """Return how many cache entries the next steps can reach, rounded up to a power of two."""
        lengths = np.asarray(slots.cache.lengths)[np.asarray(slots.active)]
        reached = int(lengths.max(initial=0)) + self._steps
        return min(power_of_two(reached, _SMALLEST_WINDOW), self._cache_length)

    def _finished(
        self, slots: SlotState, running: dict[int, GenerationRequest]
    ) -> Iterator[Completion]:
        active = np.asarray(slots.active)
        done = [slot for slot in running if not active[slot]]
        if not done:
            return
        written, counts = np.asarray(slots.written), np.asarray(slots.counts)
        for slot in done:
            tokens = tuple(written[slot, : counts[slot]].tolist())
            if tokens[-1] == self._eos_id:
                yield Completion(running.pop(slot).id, tokens[:-1], "eos")
            else:
                yield Completion(running.pop(slot).id, tokens, "length")

    # The methods below are traced and run on the device.

    def _empty(self, parameters: PyTree) -> SlotState:
        """Return free slots."""
        model = nnx.merge(self._graph, parameters)
        return SlotState(
            cache=constrained(model.empty_cache(self._slots, self._cache_length)),
            written=jnp.zeros((self._slots, self._sampling.max_new_tokens), jnp.int32),
            counts=jnp.zeros(self._slots, jnp.int32),
            keys=jnp.zeros((self._slots, 2), jnp.uint32),
            active=jnp.zeros(self._slots, bool),
        )

    def _prefill_step(
        self,
        parameters: PyTree,
        slots: SlotState,
        tokens: Int[Array, "G T"],
        lengths: Int[Array, " G"],
        keys: UInt32[Array, "G 2"],
        targets: Int[Array, " G"],
    ) -> SlotState:
        """Read a group of prompts into the slots `targets` and sample the first token of each."""
        model = nnx.merge(self._graph, parameters)
        logits, new = model.prefill(tokens, lengths, tokens.shape[1])
        first = self._draw(logits, keys, jnp.zeros_like(lengths))
        cache, room = slots.cache, min(tokens.shape[1], self._cache_length)
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

    def _decode_steps(self, parameters: PyTree, slots: SlotState, window: int) -> SlotState:
        """Sample up to `steps_per_sync` tokens in each active slot; stop when none is active."""
        model = nnx.merge(self._graph, parameters)
        rows = jnp.arange(self._slots)

        def step(carry):
            count, slots = carry
            newest = slots.written[rows, slots.counts - 1]
            logits, cache = model.decode(newest, slots.cache, window)
            token = self._draw(logits, slots.keys, slots.counts)
            # A finished slot writes out of bounds, which drops the token, and keeps its length.
            column = jnp.where(slots.active, slots.counts, self._sampling.max_new_tokens)
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
            return (carry[0] < self._steps) & jnp.any(carry[1].active)

        return jax.lax.while_loop(proceeds, step, (0, slots))[1]

    def _draw(
        self, logits: Float32[Array, "B V"], keys: UInt32[Array, "B 2"], counters: Int[Array, " B"]
    ) -> Int[Array, " B"]:
        if self._drawable is not None:
            allowed = np.isin(np.arange(logits.shape[-1]), self._drawable)
            logits = jnp.where(allowed[None], logits, -jnp.inf)
        return sample(logits, keys, counters, self._sampling)

    def _unfinished(
        self, token: Int[Array, " B"], counts: Int[Array, " B"] | int
    ) -> Bool[Array, " B"]:
        return (token != self._eos_id) & (counts < self._sampling.max_new_tokens)


def batch_ways(slots: int) -> int:
    """Return how many devices of the mesh in context share a batch.

    Raises UserError unless `slots` is a positive multiple of that.
    """
    ways = sharding.batch_cuts(jax.sharding.get_abstract_mesh())
    if slots < 1 or slots % ways:
        raise UserError(
            f"config.slots={slots}: expected a positive multiple of {ways}, the number of devices "
            "that share a batch (config.mesh.data times config.mesh.fsdp)"
        )
    return ways


def _refuse_too_long(max_positions: int, prompt_length: int, new_tokens: int) -> None:
    if 0 < max_positions < prompt_length + new_tokens:
        raise UserError(
            f"config.sampling.max_new_tokens={new_tokens}: prompts of up to {prompt_length} tokens "
            f"make texts of {prompt_length + new_tokens} tokens, but the model has learned "
            f"positions for {max_positions}; lower it"
        )
