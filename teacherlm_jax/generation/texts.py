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
from collections.abc import Iterator, Sequence

import jax
from flax import nnx

from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import SamplingConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.engine import Engine, slot_shards
from teacherlm_jax.generation.requests import Completion, GenerationRequest
from teacherlm_jax.generation.sampling import request_key

_TYPICAL = 0.9  # share of the prompts that the first group takes at least
_TOLERATED = 1.5  # growth of the cache up to which all prompts make one group


@dataclasses.dataclass(frozen=True)
class LengthGroup:
    """Prompts that are generated together.

    Attributes:
        longest: most tokens in a prompt of the group.
        slots: number of texts generated at the same time.
    """

    longest: int
    slots: int


def length_groups(
    lengths: Sequence[int], slots: int, new_tokens: int, shards: int = 1
) -> list[LengthGroup]:
    """Return the groups for prompts of these lengths in tokens, the shortest prompts first.

    `slots`, a multiple of `shards`, is for typical prompts; a group with fewer prompts than slots
    gets fewer slots.
    """
    if not lengths:
        return []
    ordered = sorted(lengths)
    typical, longest = ordered[math.ceil(_TYPICAL * len(ordered)) - 1], ordered[-1]
    limits = [longest]
    if longest + new_tokens > _TOLERATED * (typical + new_tokens):
        limits = [typical]
        while limits[-1] < longest:
            limits.append(min(2 * limits[-1] + new_tokens, longest))
    entries = slots * ((typical if len(limits) > 1 else longest) + new_tokens)
    groups, start = [], 0
    for limit in limits:
        members = [length for length in ordered[start:] if length <= limit]
        start += len(members)
        if members:
            fitting = entries // (members[-1] + new_tokens) // shards * shards
            wanted = math.ceil(len(members) / shards) * shards
            groups.append(LengthGroup(members[-1], max(shards, min(slots, fitting, wanted))))
    return groups


def longest_prompt(max_positions: int, sampling: SamplingConfig) -> int:
    """Return the most tokens that a prompt may have; 0: any number.

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
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    *,
    slots: int,
) -> Iterator[Completion]:
    """Yield a completion for each request, as texts finish. Call it under the model's mesh.

    Raises UserError for settings that cannot be used, a prompt that is empty or too long for the
    model's learned positions, and memory that does not suffice.
    """
    fields.check(sampling, "config.sampling")
    limit = longest_prompt(model.model.max_positions, sampling)
    for request in requests:
        if limit and len(request.tokens) > limit:
            raise UserError(
                f"request {request.id}: its prompt has {len(request.tokens)} tokens; with "
                f"max_new_tokens={sampling.max_new_tokens} the model's learned positions leave "
                f"room for {limit}; shorten it or leave it out"
            )
    lengths, shortest = [len(request.tokens) for request in requests], -1
    groups = length_groups(lengths, slots, sampling.max_new_tokens, slot_shards(slots))
    for group in groups:
        engine = Engine(
            model.model,
            slots=group.slots,
            prompt_length=group.longest,
            sampling=sampling,
            eos_id=model.vocabulary.eos_id,
            drawable=model.vocabulary.drawable(),
        )
        yield from engine.generate(
            request for request in requests if shortest < len(request.tokens) <= group.longest
        )
        shortest = group.longest


def generate(
    model: LoadedModel,
    prompts: Sequence[str],
    sampling: SamplingConfig,
    *,
    seed: int = 0,
    slots: int = 64,
) -> list[str]:
    """Return the continuation of each prompt, in their order.

    A text depends on the model, its prompt, `sampling` and `seed`, not on the other prompts; a
    prompt that is repeated gets a different text each time.
    """
    seen: Counter[str] = Counter()
    requests = []
    for index, prompt in enumerate(prompts):
        seen[prompt] += 1
        key = request_key(seed, prompt, f"text {seen[prompt]}")
        tokens = (*model.vocabulary.begin, *model.vocabulary.encode(prompt))
        requests.append(GenerationRequest(str(index), tokens, key))
    with on_mesh(model):
        completions = {text.id: text for text in complete(model, requests, sampling, slots=slots)}
    return [model.vocabulary.decode(completions[request.id].tokens) for request in requests]


@contextlib.contextmanager
def on_mesh(model: LoadedModel) -> Iterator[None]:
    """Set the mesh that a model was loaded for; a model on one device without a mesh sets none."""
    placement = jax.tree.leaves(nnx.split(model.model)[1])[0].sharding
    mesh = getattr(placement, "mesh", None)
    with jax.set_mesh(mesh) if mesh is not None else contextlib.nullcontext():
        yield
