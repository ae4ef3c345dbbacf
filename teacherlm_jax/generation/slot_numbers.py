"""Numbers of slots, prompts and tokens that fit together, and errors for those that do not."""

import math

import jax

from teacherlm_jax import sharding
from teacherlm_jax.errors import UserError

_GROUP = 8  # maximum number of prefixes in one prefill
_SMALLEST_WINDOW = 128  # entries of the cache
_STEP = 16  # the cache and its windows are multiples of it, the rows of a TPU's tile in bfloat16
_IDLE = 12  # prompts are read once one in this number of slots is free


def prefill_size(slots: int, members: int, shards: int) -> tuple[int, int]:
    """Return the free slots that are worth a prefill, and the prefixes that one prefill reads.

    A prefill takes as long for one prompt as for a group, so free slots gather a little.
    """
    worth = max(1, min(slots // _IDLE, _GROUP * members))
    return worth, shards * math.ceil(worth / members / shards)


def cache_entries(prompt_length: int, new_tokens: int) -> int:
    """Return the entries of a KV cache for prompts and texts of up to these lengths.

    They are rounded up, so that prompts that are nearly as long, such as those for another kind of
    explanation, find the programs of the others in the compilation cache.
    """
    return -(-(prompt_length + new_tokens) // _STEP) * _STEP


def decode_window(reached: int, cache_length: int) -> int:
    """Return the entries of the cache that a decoding reads in which texts reach `reached`.

    Windows are the whole cache, its half, the half of that and so on, in steps of 16 entries. So
    there are few of them, and one has at most about twice the entries that are needed, or 256.
    """
    window, part = cache_length, 2
    while cache_length // part >= _SMALLEST_WINDOW:
        entries = -(-cache_length // (part * _STEP)) * _STEP
        if entries < reached:
            break
        window, part = entries, 2 * part
    return window


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


def refuse_too_long(max_positions: int, prompt_length: int, new_tokens: int) -> None:
    """Raise UserError if a text exceeds the positions that a model has learned; 0: any number."""
    if 0 < max_positions < prompt_length + new_tokens:
        room = max_positions - prompt_length
        remedy = f"lower it to {room} or less" if room > 0 else "use shorter prompts"
        raise UserError(
            f"config.sampling.max_new_tokens={new_tokens}: prompts of up to {prompt_length} tokens "
            f"make texts of {prompt_length + new_tokens} tokens, but the model has learned "
            f"positions for {max_positions}; {remedy}"
        )
