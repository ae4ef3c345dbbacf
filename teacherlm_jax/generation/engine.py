"""A slot engine: texts are generated side by side, and a finished one makes room for the next.

All shapes are fixed, so few programs are compiled: one per bucket of prompt lengths that reads a
group of prompts into slots, and one that decodes; on GPUs and TPUs, one per window of the KV cache.
Prompts with a common prefix are read together, the prefix once. The device decodes until enough
slots are free to read the next prompts, and the host prepares those while the device works.

A text depends on its prompt, its key and the model, not on its slot or on the other texts, except
for the rounding of float sums, whose order may change with the compiled shapes.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding

from teacherlm_jax import capacity
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.generation import slot_memory
from teacherlm_jax.generation.prompt_batch import empty_batch, prompt_batch
from teacherlm_jax.generation.requests import (
    Completion,
    GenerationRequest,
    WaitingFamilies,
    prefix_bucket,
)
from teacherlm_jax.generation.running_texts import RunningTexts
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.slot_numbers import (
    cache_entries,
    decode_window,
    prefill_size,
    refuse_too_long,
    slot_shards,
)
from teacherlm_jax.generation.slot_programs import SlotPrograms
from teacherlm_jax.generation.slot_state import SlotState, placed
from teacherlm_jax.models.attention_cached import reads_windows
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.wording import counted

# Names in traces: what the host does. HANDLE is the time of the caller.
HOST_PHASES = ("submit programs", "handle texts", "read requests", "wait for the device")
SUBMIT, HANDLE, READ, WAIT = HOST_PHASES


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
    """Generates texts with one model. With a mesh, make and use it under `jax.set_mesh(mesh)`.

    Attributes:
        counts: counts of prompts, tokens and busy slots so far.
    """

    def __init__(
        self,
        model: Decoder,
        *,
        slots: int,
        prompt_length: int,
        sampling: SamplingConfig,
        eos_id: int,
        drawable: Collection[int] | None = None,
        members: int = 1,
        stopped: Callable[[Sequence[int]], bool] | None = None,
        steps_per_sync: int = 32,
        adapted: bool = False,
        say: Callable[[str], None] = lambda line: None,
        counts: SlotCounts | None = None,
    ):
        """Compile nothing yet; check that the settings fit the model, the mesh and the memory.

        Args:
            model: concrete, or with shapes in place of parameters to call `programs` only.
            slots: number of texts generated at the same time.
            prompt_length: maximum number of tokens in a prompt.
            sampling: settings of the sampling.
            eos_id: id that ends a text.
            drawable: ids that may be sampled, `eos_id` among them; None: all rows of the model's
                table, which may have more rows than its vocabulary has ids.
            members: maximum number of prompts that share a prefix.
            stopped: function that returns whether new tokens contain a stop string.
            steps_per_sync: maximum number of tokens decoded per slot between two checks by the
                host.
            adapted: whether the model has several adapters; each request names its own.
            say: gets a line about each program that was compiled.
            counts: object that the engine adds to; None: a new one.

        Raises:
            UserError: `sampling` is invalid, `slots` do not fit the mesh in context, the texts
                exceed the model's learned positions, or the KV cache exceeds the free memory.
        """
        fields.check(sampling, "config.sampling")
        shards = slot_shards(slots)
        refuse_too_long(model.max_positions, prompt_length, sampling.max_new_tokens)
        graph, self._parameters = nnx.split(model)
        self._device = SlotPrograms(
            graph, slots=slots,
            cache_length=cache_entries(prompt_length, sampling.max_new_tokens),
            sampling=sampling, eos_id=eos_id, drawable=drawable, steps=steps_per_sync,
            adapted=adapted,
        )  # fmt: skip
        self._slots, self._prompt_length, self._members = slots, prompt_length, members
        self._stopped, self._say = stopped, say
        self.counts = SlotCounts() if counts is None else counts
        self._compiled: set[tuple[str, int]] = set()  # names of programs, and a further size
        self._worth_reading, self._group = prefill_size(slots, members, shards)
        self._ahead = 2 * max(self._worth_reading, self._group * members)
        slot_memory.refuse_too_many(self._abstract_slots()[0], self._parameters, slots, shards)
        self._allocate = jax.jit(self._device.empty)
        self._prefill = jax.jit(self._device.prefill, donate_argnums=1)
        self._decode = jax.jit(self._device.decode, donate_argnums=1, static_argnums=4)

    def generate(
        self, requests: Iterable[GenerationRequest], enough: Callable[[], bool] = lambda: False
    ) -> Iterator[Completion]:
        """Yield completions as they finish; requests are taken as slots become free.

        While the device generates, the caller works on the completions, and the next requests are
        read. Traces of `jax.profiler` have the HOST_PHASES.

        Args:
            requests: the prompts. They are asked for more after they have ended, until all texts
                have ended, too: the caller may add some that depend on completions.
            enough: function that is called after every decoding; once it returns True, the
                generation ends, and unfinished texts are dropped.

        Raises:
            UserError: a prompt is empty or longer than `prompt_length`, or memory ran out.
        """
        waiting = WaitingFamilies(requests, self._prompt_length, min(self._members, self._slots))
        running = RunningTexts(self._slots, self._device.eos_id, self._stopped, self.counts)
        completions: list[Completion] = []
        with slot_memory.report_shortage(self._slots):
            slots = self._allocate(self._parameters)
        waiting.fill(self._slots)
        phase = jax.profiler.TraceAnnotation
        while True:
            with phase(SUBMIT), slot_memory.report_shortage(self._slots):
                slots = self._refill(slots, running, waiting)
                if running:
                    slots = self._decoded(slots, running)
            with phase(HANDLE):
                yield from completions
            with phase(READ):
                waiting.fill(self._ahead)
            if not running:
                if not waiting:
                    return
                completions = []
                continue
            with phase(WAIT), slot_memory.report_shortage(self._slots):
                completions = running.collect(slots)
            if enough():
                yield from completions
                return

    def _refill(
        self, slots: SlotState, running: RunningTexts, waiting: WaitingFamilies
    ) -> SlotState:
        """Read prompts into free slots until there are no more of either."""
        free = running.free()
        while free:
            waiting.fill(len(free))
            taken = waiting.take(len(free), self._group)
            if taken is None:
                break
            (longest, steps), families = taken
            targets = [[free.pop(0) for _ in family.requests] for family in families]
            for family, own in zip(families, targets, strict=True):
                for request, slot in zip(family.requests, own, strict=True):
                    running.add(slot, request)
            shape = (self._group, self._members, longest, steps)
            batch = prompt_batch(
                *(families, targets, shape, self._slots, self._device.sampling.max_new_tokens),
                adapted=self._device.adapted,
            )
            with self._reporting(self._prefill_name(longest), steps):
                slots = self._prefill(self._parameters, slots, batch)
            self.counts.prefills += 1
        return slots

    def _prefill_name(self, longest: int) -> str:
        continued = f", each continued {self._members} times" if self._members > 1 else ""
        return f"prefill of {counted(self._group, 'prompt')} of {longest} tokens{continued}"

    def _decode_name(self, window: int) -> str:
        return f"decode with {counted(self._slots, 'slot')} and {window} entries"

    @contextlib.contextmanager
    def _reporting(self, name: str, size: int = 0) -> Iterator[None]:
        """Report the time of the block if it compiles the program, which its first call does.

        `size` tells apart programs with the same name.
        """
        began, first = time.monotonic(), (name, size) not in self._compiled
        yield
        if first:
            seconds = time.monotonic() - began
            self._compiled.add((name, size))
            self.counts.compile_seconds += seconds
            self._say(f"compiled {name} in {seconds:.1f} s")

    def _decoded(self, slots: SlotState, running: RunningTexts) -> SlotState:
        """Send the next decode steps to the device."""
        window = self._window(running.longest)
        until_free = np.int32(self._slots - len(running) + self._worth_reading)
        with self._reporting(self._decode_name(window)):
            return self._decode(self._parameters, slots, running.mask(), until_free, window)

    def _window(self, longest: int) -> int:
        """Return the entries of the cache that are read while the longest text grows."""
        if not reads_windows():
            return self._device.cache_length
        return decode_window(longest + self._device.steps, self._device.cache_length)

    def program_names(self, prefixes: Iterable[int], shortest: int) -> list[str]:
        """Return the names of all programs that prompts may need.

        Args:
            prefixes: tokens that the prompts share with others of their family.
            shortest: tokens of the shortest prompt.
        """
        buckets = sorted({prefix_bucket(tokens) for tokens in prefixes})
        longest = range(shortest + 1, self._device.cache_length + 1)
        windows = sorted(set(map(self._window, longest)))
        return [*map(self._prefill_name, buckets), *map(self._decode_name, windows)]

    @property
    def prefill_prompts(self) -> int:
        """Maximum number of prompts that one prefill reads."""
        return self._group * self._members

    @property
    def cache_length(self) -> int:
        """Entries of the KV cache per slot."""
        return self._device.cache_length

    def bytes_per_device(self) -> tuple[int, int]:
        """Return the bytes of the parameters and of all slots, with the KV cache, on a device."""
        slots, _ = self._abstract_slots()
        return capacity.bytes_per_device(self._parameters), capacity.bytes_per_device(slots)

    def programs(self, steps: int = 8) -> list[EngineProgram]:
        """Return the prefill of the longest prompts and the decoding over the whole cache.

        Nothing is allocated or run. With abstract parameters the programs are lowered for the mesh
        of their shardings, on devices that need not exist here. `steps` is the number of tokens
        that follow a shared prefix.
        """
        group, length = self._group, self._prompt_length
        prompts = empty_batch(
            (group, self._members, length, steps), self._slots, self._device.adapted
        )
        state, tree = self._abstract_slots()
        settings = (np.ones(self._slots, bool), np.int32(self._slots))

        def prefill(parameters, leaves, prompts):
            slots = jax.tree.unflatten(tree, leaves)
            return jax.tree.leaves(self._device.prefill(parameters, slots, prompts))

        def decode(parameters, leaves, keep, until_free):
            slots = jax.tree.unflatten(tree, leaves)
            return jax.tree.leaves(
                self._device.decode(parameters, slots, keep, until_free, self._device.cache_length)
            )

        return [
            EngineProgram(
                self._prefill_name(length),
                jax.jit(prefill, donate_argnums=1).lower(self._parameters, state, prompts),
            ),
            EngineProgram(
                self._decode_name(self._device.cache_length),
                jax.jit(decode, donate_argnums=1).lower(self._parameters, state, *settings),
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
