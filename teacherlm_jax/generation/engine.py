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

from teacherlm_jax import sharding
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import slot_memory
from teacherlm_jax.generation.requests import Completion, GenerationRequest, WaitingRequests
from teacherlm_jax.generation.slot_programs import SlotPrograms
from teacherlm_jax.generation.slot_state import SlotState, placed
from teacherlm_jax.models.buckets import power_of_two
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
        shards = slot_shards(slots)
        _refuse_too_long(model.max_positions, prompt_length, sampling.max_new_tokens)
        graph, self._parameters = nnx.split(model)
        self._device = SlotPrograms(
            graph, slots=slots, cache_length=prompt_length + sampling.max_new_tokens,
            sampling=sampling, eos_id=eos_id, drawable=drawable, steps=steps_per_sync,
        )  # fmt: skip
        self._slots, self._prompt_length = slots, prompt_length
        # Few slots must not wait for each other, or the longest text delays the next ones.
        self._worth_reading = max(1, min(slots // 4, _GROUP))
        self._group = shards * math.ceil(self._worth_reading / shards)
        slot_memory.refuse_too_many(self._abstract_slots()[0], self._parameters, slots, shards)
        self._allocate = jax.jit(self._device.empty)
        self._prefill = jax.jit(self._device.prefill, donate_argnums=1)
        self._decode = jax.jit(self._device.decode, donate_argnums=1, static_argnums=2)

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
            return jax.tree.leaves(self._device.prefill(parameters, slots, *prompts))

        def decode(parameters, leaves):
            slots = jax.tree.unflatten(tree, leaves)
            return jax.tree.leaves(
                self._device.decode(parameters, slots, self._device.cache_length)
            )

        return [
            EngineProgram(
                f"prefill of {group} prompts of {length} tokens",
                jax.jit(prefill, donate_argnums=1).lower(self._parameters, state, *prompts),
            ),
            EngineProgram(
                f"decode of {self._device.steps} tokens in {self._slots} slots",
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
            leaves, tree = jax.tree_util.tree_flatten_with_path(self._device.empty(parameters))
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
        reached = int(lengths.max(initial=0)) + self._device.steps
        return min(power_of_two(reached, _SMALLEST_WINDOW), self._device.cache_length)

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
            if tokens[-1] == self._device.eos_id:
                yield Completion(running.pop(slot).id, tokens[:-1], "eos")
            else:
                yield Completion(running.pop(slot).id, tokens, "length")


def slot_shards(slots: int) -> int:
    """Return how many devices of the mesh in context share a batch.

    Raises UserError unless `slots` is a positive multiple of that.
    """
    shards = sharding.batch_shards(jax.sharding.get_abstract_mesh())
    if slots < 1 or slots % shards:
        raise UserError(
            f"config.slots={slots}: expected a positive multiple of {shards}, the number of "
            "devices that share a batch (config.mesh.data times config.mesh.fsdp)"
        )
    return shards


def _refuse_too_long(max_positions: int, prompt_length: int, new_tokens: int) -> None:
    if 0 < max_positions < prompt_length + new_tokens:
        room = max_positions - prompt_length
        remedy = f"lower it to {room} or less" if room > 0 else "use shorter prompts"
        raise UserError(
            f"config.sampling.max_new_tokens={new_tokens}: prompts of up to {prompt_length} tokens "
            f"make texts of {prompt_length + new_tokens} tokens, but the model has learned "
            f"positions for {max_positions}; {remedy}"
        )
