"""A slot engine: texts are written side by side, and a finished one makes room for the next.

All shapes are fixed, so that few programs are compiled: for each bucket of prompt lengths one that
reads a group of prompts into slots, and for each window of the cache one that decodes. The device
decodes several tokens before the host looks which slots have finished.

A text depends on its prompt, its key and the model, not on its slot or on the texts beside it. What
remains of them is the rounding of float sums, whose order may change with the shapes compiled.
"""

import collections
import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, PyTree, UInt32

from teacherlm_jax import sharding
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.data.packing import power_of_two
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.sampling import sample
from teacherlm_jax.models.cache import KVCache
from teacherlm_jax.models.decoder import Decoder

_GROUP = 8  # prompts that one prefill reads, at most
_SMALLEST_BUCKET = 16  # tokens of a prompt
_SMALLEST_WINDOW = 64  # entries of the cache


@dataclasses.dataclass(frozen=True)
class Request:
    """A prompt to be continued. `key` is its own randomness, see `sampling.request_key`."""

    id: str
    tokens: tuple[int, ...]
    key: UInt32[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """What was written for the request of this id, without the end-of-text token."""

    id: str
    tokens: tuple[int, ...]
    finish_reason: str  # "eos" | "length"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Slots:
    """The device's state. The first `counts[b]` of `written[b]` are slot b's text so far."""

    cache: KVCache
    written: Int[Array, "B T"]
    counts: Int[Array, "B"]
    keys: UInt32[Array, "B 2"]
    active: Bool[Array, "B"]


class Engine:
    """Continues prompts with one model. Where there is a mesh context, make and use it inside."""

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
        """Writes up to `slots` texts at once, their prompts at most `prompt_length` tokens long.

        Only the ids in `drawable` are ever drawn, `eos_id` among them; None allows every row of the
        model's table, which may have more rows than its vocabulary has ids. The device decodes
        `steps_per_sync` tokens a slot between two looks of the host.

        Raises:
          UserError: `sampling` cannot be used, or `slots` do not fit the mesh in context.
        """
        fields.check(sampling, "config.sampling")
        ways = sharding.batch_cuts(jax.sharding.get_abstract_mesh())
        if slots < 1 or slots % ways:
            raise UserError(
                f"config.slots={slots}: wanted a positive multiple of {ways}, the devices that "
                "share a batch (config.mesh.data times config.mesh.fsdp)"
            )
        longest = prompt_length + sampling.max_new_tokens
        if 0 < model.max_positions < longest:
            raise UserError(
                f"config.sampling.max_new_tokens={sampling.max_new_tokens}: with prompts of up to "
                f"{prompt_length} tokens that makes {longest}, but the model has learned positions "
                f"for {model.max_positions}"
            )
        self._graph, self._parameters = nnx.split(model)
        self._slots, self._prompt_length = slots, prompt_length
        self._sampling, self._eos_id, self._steps = sampling, eos_id, steps_per_sync
        self._cache_length = longest
        self._drawable = None if drawable is None else np.array(sorted(drawable))
        # Few slots must not wait for each other, or the longest text of all holds up the next ones.
        self._worth_reading = max(1, min(slots // 4, _GROUP))
        self._group = ways * math.ceil(self._worth_reading / ways)
        self._start = jax.jit(self._empty)
        self._read = jax.jit(self._prefill, donate_argnums=1)
        self._write = jax.jit(self._decode, donate_argnums=1, static_argnums=2)

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Completions, each as soon as it is finished; requests are taken as slots become free.

        Raises:
          UserError: a prompt is empty, or longer than `prompt_length`.
        """
        waiting = _Waiting(requests, self._prompt_length)
        slots = self._start(self._parameters)
        texts: dict[int, Request] = {}  # by slot
        while True:
            free = [slot for slot in range(self._slots) if slot not in texts]
            # A prefill takes as long for one prompt as for a group, so let free slots gather.
            if len(free) >= self._worth_reading or not texts:
                slots = self._refill(slots, free, texts, waiting)
            if not texts:
                return
            slots = self._write(self._parameters, slots, self._window(slots))
            yield from self._finished(slots, texts)

    def _refill(self, slots: _Slots, free: list[int], texts: dict, waiting: "_Waiting") -> _Slots:
        """Reads prompts into free slots while there are both."""
        while free and (taken := waiting.take(min(len(free), self._group), ahead=len(free))):
            bucket, requests = taken
            tokens = np.zeros((self._group, bucket), np.int32)
            lengths = np.ones(self._group, np.int32)
            keys = np.zeros((self._group, 2), np.uint32)
            where = np.full(self._group, self._slots, np.int32)  # no such slot: dropped
            for row, request in enumerate(requests):
                lengths[row] = len(request.tokens)
                tokens[row, : lengths[row]] = request.tokens
                keys[row], where[row] = request.key, free.pop(0)
                texts[int(where[row])] = request
            slots = self._read(self._parameters, slots, tokens, lengths, keys, where)
        return slots

    def _window(self, slots: _Slots) -> int:
        """Entries of the cache that the next steps can reach, rounded up to a power of two."""
        lengths = np.asarray(slots.cache.lengths)[np.asarray(slots.active)]
        reached = int(lengths.max(initial=0)) + self._steps
        return min(power_of_two(reached, _SMALLEST_WINDOW), self._cache_length)

    def _finished(self, slots: _Slots, texts: dict[int, Request]) -> Iterator[Completion]:
        active = np.asarray(slots.active)
        done = [slot for slot in texts if not active[slot]]
        if not done:
            return
        written, counts = np.asarray(slots.written), np.asarray(slots.counts)
        for slot in done:
            tokens = tuple(written[slot, : counts[slot]].tolist())
            if tokens[-1] == self._eos_id:
                yield Completion(texts.pop(slot).id, tokens[:-1], "eos")
            else:
                yield Completion(texts.pop(slot).id, tokens, "length")

    # What follows runs on the device.

    def _empty(self, parameters: PyTree) -> _Slots:
        """All slots free."""
        model = nnx.merge(self._graph, parameters)
        return _Slots(
            cache=_constrained(model.empty_cache(self._slots, self._cache_length)),
            written=jnp.zeros((self._slots, self._sampling.max_new_tokens), jnp.int32),
            counts=jnp.zeros(self._slots, jnp.int32),
            keys=jnp.zeros((self._slots, 2), jnp.uint32),
            active=jnp.zeros(self._slots, bool),
        )

    def _prefill(
        self,
        parameters: PyTree,
        slots: _Slots,
        tokens: Int[Array, "G T"],
        lengths: Int[Array, "G"],
        keys: UInt32[Array, "G 2"],
        where: Int[Array, "G"],
    ) -> _Slots:
        """Reads a group of prompts into the slots `where` and draws the first token of each."""
        model = nnx.merge(self._graph, parameters)
        logits, new = model.prefill(tokens, lengths, tokens.shape[1])
        first = self._draw(logits, keys, jnp.zeros_like(lengths))
        cache, read = slots.cache, slice(tokens.shape[1])
        return _Slots(
            cache=_constrained(
                KVCache(
                    cache.k.at[:, where, read].set(new.k, mode="drop"),
                    cache.v.at[:, where, read].set(new.v, mode="drop"),
                    cache.lengths.at[where].set(lengths, mode="drop"),
                )
            ),
            written=slots.written.at[where, 0].set(first, mode="drop"),
            counts=slots.counts.at[where].set(1, mode="drop"),
            keys=slots.keys.at[where].set(keys, mode="drop"),
            active=slots.active.at[where].set(self._goes_on(first, 1), mode="drop"),
        )

    def _decode(self, parameters: PyTree, slots: _Slots, window: int) -> _Slots:
        """Up to `steps_per_sync` tokens for each active slot; ends when none is active."""
        model = nnx.merge(self._graph, parameters)
        rows = jnp.arange(self._slots)

        def step(carry):
            count, slots = carry
            newest = slots.written[rows, slots.counts - 1]
            logits, cache = model.decode(newest, slots.cache, window)
            token = self._draw(logits, slots.keys, slots.counts)
            # A finished slot writes nowhere and stays as long as it is.
            where = jnp.where(slots.active, slots.counts, self._sampling.max_new_tokens)
            counts = slots.counts + slots.active
            lengths = jnp.where(slots.active, cache.lengths, slots.cache.lengths)
            return count + 1, _Slots(
                cache=_constrained(KVCache(cache.k, cache.v, lengths)),
                written=slots.written.at[rows, where].set(token, mode="drop"),
                counts=counts,
                keys=slots.keys,
                active=slots.active & self._goes_on(token, counts),
            )

        def unfinished(carry):
            return (carry[0] < self._steps) & jnp.any(carry[1].active)

        return jax.lax.while_loop(unfinished, step, (0, slots))[1]

    def _draw(
        self, logits: Float32[Array, "B V"], keys: UInt32[Array, "B 2"], counters: Int[Array, "B"]
    ) -> Int[Array, "B"]:
        if self._drawable is not None:
            allowed = np.isin(np.arange(logits.shape[-1]), self._drawable)
            logits = jnp.where(allowed[None], logits, -jnp.inf)
        return sample(logits, keys, counters, self._sampling)

    def _goes_on(self, token: Int[Array, "B"], counts: Int[Array, "B"] | int) -> Bool[Array, "B"]:
        return (token != self._eos_id) & (counts < self._sampling.max_new_tokens)


class _Waiting:
    """Requests not yet begun, by the bucket of their prompt's length."""

    def __init__(self, requests: Iterable[Request], prompt_length: int):
        self._requests, self._prompt_length = iter(requests), prompt_length
        self._buckets: dict[int, collections.deque[Request]] = {}

    def take(self, count: int, ahead: int) -> tuple[int, list[Request]] | None:
        """A bucket and up to `count` of its requests; looks at `ahead` requests to choose it.

        A prompt's bucket depends on nothing but its own length, so that it is always read in the
        same shape.
        """
        while sum(map(len, self._buckets.values())) < ahead:
            request = next(self._requests, None)
            if request is None:
                break
            self._buckets.setdefault(self._bucket(request), collections.deque()).append(request)
        if not self._buckets:
            return None
        bucket = max(self._buckets, key=lambda bucket: len(self._buckets[bucket]))
        queue = self._buckets[bucket]
        taken = [queue.popleft() for _ in range(min(count, len(queue)))]
        if not queue:
            del self._buckets[bucket]
        return bucket, taken

    def _bucket(self, request: Request) -> int:
        length = len(request.tokens)
        if not 1 <= length <= self._prompt_length:
            raise UserError(
                f"request {request.id}: its prompt has {length} tokens, wanted 1 to "
                f"{self._prompt_length} (config.prompt_length; 0 takes the longest prompt's)"
            )
        return min(power_of_two(length, _SMALLEST_BUCKET), self._prompt_length)


def _constrained(cache: KVCache) -> KVCache:
    axes = ("layers", "batch", "length", "heads", "head_dim")
    k, v = sharding.constrain(cache.k, axes), sharding.constrain(cache.v, axes)
    return KVCache(k, v, sharding.constrain(cache.lengths, ("batch",)))
