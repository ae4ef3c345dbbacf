"""Texts for many prompts from one loaded model, with memory that follows the typical prompt.

A KV cache has an entry for each token of its longest prompt in every slot, so one long prompt
would multiply the memory of all slots. Prompts are therefore generated in groups by length: the
first group takes at least nine of ten prompts, and each further group has longer prompts and fewer
slots, so that its cache is no larger than the first one (one slot per device at least).
"""

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
from flax import nnx

from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.data.percentiles import percentile
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import (
    Completion,
    GenerationRequest,
    RequestsByLength,
)
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.slot_numbers import slot_shards
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_TYPICAL = 0.9  # share of the prompts that the first group takes at least
_TOLERATED = 1.5  # growth of the cache up to which all prompts make one group
_SHORTEST = 64  # tokens of the prompts of an engine that is kept, at least
_DEFERRED = 8  # maximum number of long prompts that wait, per slot


@dataclasses.dataclass(frozen=True)
class LengthGroup:
    """Prompts that are generated together.

    Attributes:
        longest: maximum number of tokens in a prompt of the group.
        slots: number of texts generated at the same time.
    """

    longest: int
    slots: int


def length_groups(
    lengths: Mapping[int, int], slots: int, new_tokens: int, shards: int = 1
) -> list[LengthGroup]:
    """Return the groups for prompts of these lengths, the shortest prompts first.

    Args:
        lengths: number of prompts by length in tokens.
        slots: slots for typical prompts, a multiple of `shards`; a group with fewer prompts than
            slots gets fewer slots.
        new_tokens: maximum number of tokens that follow a prompt.
        shards: devices that share a batch.
    """
    if not lengths:
        return []
    ordered = sorted(lengths)
    typical, longest = percentile(lengths, _TYPICAL), ordered[-1]
    limits = [longest]
    if longest + new_tokens > _TOLERATED * (typical + new_tokens):
        limits = [typical]
        while limits[-1] < longest:
            limits.append(min(2 * limits[-1] + new_tokens, longest))
    entries = slots * ((typical if len(limits) > 1 else longest) + new_tokens)
    groups, shorter = [], -1
    for limit in limits:
        members = [length for length in ordered if shorter < length <= limit]
        shorter = limit
        if members:
            count = sum(lengths[length] for length in members)
            fitting = entries // (members[-1] + new_tokens) // shards * shards
            wanted = math.ceil(count / shards) * shards
            groups.append(LengthGroup(members[-1], max(shards, min(slots, fitting, wanted))))
    return groups


def longest_prompt(max_positions: int, sampling: SamplingConfig) -> int:
    """Return the maximum number of tokens in a prompt; 0: any number.

    `max_positions` is the model's, 0 without learned positions. Raises UserError if it leaves no
    room for a prompt.
    """
    if not max_positions:
        return 0
    if sampling.max_new_tokens >= max_positions:
        raise UserError(
            f"config.sampling.max_new_tokens={sampling.max_new_tokens}: the model has learned "
            f"positions for {max_positions} tokens, which leaves no room for a prompt; lower it to "
            f"less than {max_positions}"
        )
    return max_positions - sampling.max_new_tokens


def complete(
    model: LoadedModel,
    requests: Iterable[GenerationRequest],
    sampling: SamplingConfig,
    *,
    slots: int,
    lengths: Mapping[int, int] | None = None,
    members: int = 1,
    say: Callable[[str], None] = lambda line: None,
    counts: SlotCounts | None = None,
    engines: dict[LengthGroup, Engine] | None = None,
) -> Iterator[Completion]:
    """Yield a completion for each request, as texts finish. Call it under the model's mesh.

    Args:
        model: the model.
        requests: with `lengths` they are read as slots become free, and few are held at a time:
            those of long prompts, which wait for each other. They are asked for more until all
            texts have ended: the caller may add some that depend on completions.
        sampling: settings of the sampling.
        slots: texts generated at the same time, of typical prompts.
        lengths: number of prompts by length in tokens, which decides the sizes of the caches;
            None: all requests are read first and counted.
        members: maximum number of requests that share a prefix; see `GenerationRequest.prefix`.
        say: gets a line about each program that is compiled.
        counts: object to which the engines add their work.
        engines: engines of earlier calls with the same settings, whose programs are compiled;
            those that are made are added. Without `lengths`, one engine serves all requests, and
            its length is rounded up, so that it serves later calls with similar prompts.

    Raises UserError for settings that cannot be used, a prompt that is empty, too long for the
    model's learned positions or longer than all of `lengths`, and memory that does not suffice.
    """
    fields.check(sampling, "config.sampling")
    usable: Iterator[GenerationRequest] = map(_within_positions(model, sampling), requests)
    if lengths is None:
        every = list(usable)
        lengths, usable = Counter(len(request.tokens) for request in every), iter(every)
        if engines is not None:
            lengths = of_kept_engine(lengths, model.model.max_positions, sampling)
    groups = length_groups(lengths, slots, sampling.max_new_tokens, slot_shards(slots))
    engines = {} if engines is None else engines
    for group in groups:
        if group not in engines:
            engines[group] = engine_of(
                model, group, sampling, members=members, say=say, counts=counts
            )
    queues = RequestsByLength(usable, [group.longest for group in groups], most=_DEFERRED * slots)
    while queues.pending():
        for group, queue in zip(groups, queues.by_group(), strict=True):
            yield from engines[group].generate(queue)


def of_kept_engine(
    lengths: Mapping[int, int], max_positions: int, sampling: SamplingConfig
) -> dict[int, int]:
    """Return lengths that make one group, whose engine serves later calls with similar prompts.

    The longest prompt is rounded up to a power of two, 64 at least, as far as the learned positions
    of the model allow.
    """
    if not lengths:
        return {}
    limit = longest_prompt(max_positions, sampling)
    rounded = max(_SHORTEST, 1 << (max(lengths) - 1).bit_length())
    longest = max(max(lengths), min(rounded, limit or rounded))
    return {longest: sum(lengths.values())}


def engine_of(
    model: LoadedModel,
    group: LengthGroup,
    sampling: SamplingConfig,
    *,
    members: int,
    say: Callable[[str], None] = lambda line: None,
    counts: SlotCounts | None = None,
) -> Engine:
    """Return the engine for the prompts of one group; see `complete`."""
    return Engine(
        model.model,
        slots=group.slots,
        prompt_length=group.longest,
        sampling=sampling,
        eos_id=model.vocabulary.eos_id,
        drawable=model.vocabulary.drawable(),
        members=members,
        adapted=model.adapters > 0,
        stopped=_stopped(model.vocabulary, sampling.stop) if sampling.stop else None,
        say=say,
        counts=counts,
    )


def text_of(vocabulary: Vocabulary, completion: Completion, sampling: SamplingConfig) -> str:
    """Return the text of a completion, truncated before the first stop string."""
    text = vocabulary.decode(completion.tokens)
    ends = [text.find(stop) for stop in sampling.stop if stop in text]
    return text[: min(ends)] if ends else text


def _stopped(vocabulary: Vocabulary, stop: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Return a function that returns whether the text of new tokens contains a stop string."""

    def stopped(tokens: Sequence[int]) -> bool:
        text = vocabulary.decode(tokens)
        return any(string in text for string in stop)

    return stopped


def _within_positions(
    model: LoadedModel, sampling: SamplingConfig
) -> Callable[[GenerationRequest], GenerationRequest]:
    """Return a function that returns a request, or raises UserError if it is too long."""
    limit = longest_prompt(model.model.max_positions, sampling)

    def checked(request: GenerationRequest) -> GenerationRequest:
        if limit and len(request.tokens) > limit:
            raise UserError(
                f"request {request.id}: its prompt has {len(request.tokens)} tokens; with "
                f"max_new_tokens={sampling.max_new_tokens} the model's learned positions leave "
                f"room for {limit}; shorten it or leave it out"
            )
        return request

    return checked


def generate(
    model: LoadedModel,
    prompts: Sequence[str],
    sampling: SamplingConfig,
    *,
    seed: int = 0,
    slots: int = 64,
    engines: dict[LengthGroup, Engine] | None = None,
) -> list[str]:
    """Return the continuation of each prompt, in their order.

    A text depends on the model, its prompt, `sampling` and `seed`, not on the other prompts; a
    prompt that is repeated gets a different text each time. `engines`: see `complete`.
    """
    seen: Counter[str] = Counter()
    requests = []
    for index, prompt in enumerate(prompts):
        seen[prompt] += 1
        key = request_key(seed, prompt, f"text {seen[prompt]}")
        tokens = (*model.vocabulary.begin, *model.vocabulary.encode(prompt))
        requests.append(GenerationRequest(str(index), tokens, key))
    with on_mesh(model):
        finished = complete(model, requests, sampling, slots=slots, engines=engines)
        completions = {text.id: text for text in finished}
    texts = (completions[request.id] for request in requests)
    return [text_of(model.vocabulary, text, sampling) for text in texts]


@contextlib.contextmanager
def on_mesh(model: LoadedModel) -> Iterator[None]:
    """Set the mesh that a model was loaded for; a model on one device without a mesh sets none."""
    placement = jax.tree.leaves(nnx.split(model.model)[1])[0].sharding
    mesh = getattr(placement, "mesh", None)
    with jax.set_mesh(mesh) if mesh is not None else contextlib.nullcontext():
        yield
