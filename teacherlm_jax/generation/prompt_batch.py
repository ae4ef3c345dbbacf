"""Prompts as arrays: families that share a prefix, padded to fixed shapes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Shaped, UInt32

from teacherlm_jax.generation.requests import PromptFamily

Array = Any  # of NumPy on the host, of JAX on the device


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PromptBatch:
    """G families of up to K prompts.

    Attributes:
        prefixes: shared tokens of each family, right-padded to T.
        prefix_lengths: their number.
        suffixes: the other tokens of each prompt, right-padded to R.
        suffix_lengths: their number; 1 for a prompt that does not exist.
        keys: random key of each text.
        limits: maximum number of new tokens of each text.
        targets: slot of each prompt; the number of slots for a prompt that does not exist.
        adapters: index of the adapter of each family; None for a model without several.
    """

    prefixes: Int[Array, "G T"]
    prefix_lengths: Int[Array, " G"]
    suffixes: Int[Array, "G K R"]
    suffix_lengths: Int[Array, "G K"]
    keys: UInt32[Array, "G K 2"]
    limits: Int[Array, "G K"]
    targets: Int[Array, "G K"]
    adapters: Int[Array, " G"] | None = None

    @property
    def lengths(self) -> Int[Array, "G K"]:
        """Tokens of each prompt."""
        return self.prefix_lengths[:, None] + self.suffix_lengths

    def tokens(self, columns: int) -> Int[Array, "P S"]:
        """Return each prompt in a row of `columns` tokens; P = G * K, and the rest is 0."""
        groups, members, steps = self.suffixes.shape
        longest = min(self.prefixes.shape[1], columns)
        rows = jnp.zeros((groups, members, columns), jnp.int32)
        rows = rows.at[:, :, :longest].set(self.prefixes[:, None, :longest])
        after = self.prefix_lengths[:, None, None] + jnp.arange(steps)[None, None]
        after = jnp.broadcast_to(after, self.suffixes.shape).reshape(-1, steps)
        prompts = jnp.arange(groups * members)[:, None]
        rows = rows.reshape(-1, columns)
        return rows.at[prompts, after].set(self.suffixes.reshape(-1, steps), mode="drop")


def prompt_batch(
    families: Sequence[PromptFamily],
    targets: Sequence[Sequence[int]],
    shape: tuple[int, int, int, int],
    slots: int,
    most: int,
    adapted: bool = False,
) -> PromptBatch:
    """Return families as arrays of NumPy.

    Args:
        families: up to G families of up to K prompts.
        targets: slot of each prompt.
        shape: (G, K, T, R); T and R are at least as long as prefixes and suffixes.
        slots: number of slots.
        most: maximum number of new tokens of a text whose request has no limit.
        adapted: whether the model has several adapters.
    """
    batch = empty_batch(shape, slots, adapted)
    for group, (family, own) in enumerate(zip(families, targets, strict=True)):
        batch.prefix_lengths[group] = len(family.prefix)
        if batch.adapters is not None:
            batch.adapters[group] = family.requests[0].adapter
        batch.prefixes[group, : len(family.prefix)] = family.prefix
        for member, (request, slot) in enumerate(zip(family.requests, own, strict=True)):
            rest = request.tokens[len(family.prefix) :]
            batch.suffix_lengths[group, member] = len(rest)
            batch.suffixes[group, member, : len(rest)] = rest
            batch.keys[group, member] = request.key
            batch.limits[group, member] = request.most or most
            batch.targets[group, member] = slot
    return batch


def empty_batch(shape: tuple[int, int, int, int], slots: int, adapted: bool = False) -> PromptBatch:
    """Return a batch without prompts, as arrays of NumPy; see `prompt_batch`."""
    groups, members, longest, steps = shape

    def full(value: int, *sizes: int) -> Shaped[np.ndarray, "..."]:
        return np.full(sizes, value, np.int32)

    return PromptBatch(
        prefixes=full(0, groups, longest),
        prefix_lengths=full(0, groups),
        suffixes=full(0, groups, members, steps),
        suffix_lengths=full(1, groups, members),
        keys=np.zeros((groups, members, 2), np.uint32),
        limits=full(1, groups, members),
        targets=full(slots, groups, members),
        adapters=full(0, groups) if adapted else None,
    )
