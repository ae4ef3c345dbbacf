"""Next-token cross entropy that never holds the logits of a whole batch.

With BLOOM's 250,880 tokens, `[B, T, V]` float32 logits would be the largest array of a training
step by far. The loss walks over the rows in blocks of tokens instead; the backward pass makes each
block's logits once more.
"""

from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from teacherlm_jax import sharding


class LanguageModel(Protocol):
    """The part of a model that the loss needs."""

    def hidden(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment_ids: Int[Array, "B T"],
    ) -> Float[Array, "B T D"]:
        """See `models.bloom.Bloom.hidden`."""

    def logits(self, hidden: Float[Array, "B T D"]) -> Float32[Array, "B T V"]:
        """See `models.bloom.Bloom.logits`."""


def next_tokens(
    batch: Mapping[str, Array],
) -> tuple[Int[Array, "B T"], Bool[Array, "B T"]]:
    """Each position's target, and whether it bears loss.

    Position t predicts token t + 1. It bears loss when `loss_mask[t + 1]` does and both stand in
    the same text, so the first token of a text never does, nor does padding.
    """
    tokens, segments = batch["tokens"], batch["segment_ids"]
    same_text = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    at_end = ((0, 0), (0, 1))
    return (
        jnp.pad(tokens[:, 1:], at_end),
        jnp.pad(batch["loss_mask"][:, 1:] & same_text, at_end),
    )


def next_token_loss(
    model: LanguageModel, batch: Mapping[str, Array], block: int
) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
    """Mean cross entropy in nats over the batch's loss tokens (0 when there is none); its parts.

    `batch` holds tokens, positions, segment_ids and loss_mask, `[B, T]` each. `block` is how many
    tokens' logits exist at a time on one device; when the batch's rows there have no more, the
    logits are made once and kept. The parts are sums: `loss`, `correct` (loss tokens whose target
    has the highest logit), `loss_tokens`, and `tokens` (all but padding).
    """
    hidden = model.hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, bears_loss = next_tokens(batch)
    weights = bears_loss.astype(jnp.float32)
    width = _block_width(hidden.shape[0], hidden.shape[1], block)

    def sums(hidden, targets, weights):
        loss, correct = token_losses(model.logits(hidden), targets)
        return jnp.sum(loss * weights), jnp.sum(correct * weights)

    if width >= hidden.shape[1]:
        loss, correct = sums(hidden, targets, weights)
    else:
        blocks = tuple(_blocks(array, width) for array in (hidden, targets, weights))
        sums = jax.checkpoint(sums, prevent_cse=False)
        zero = jnp.zeros((), jnp.float32)

        def add(total, inputs):
            return jax.tree.map(jnp.add, total, sums(*inputs)), None

        (loss, correct), _ = jax.lax.scan(add, (zero, zero), blocks)
    count = jnp.sum(weights)
    parts = {
        "loss": loss,
        "correct": correct,
        "loss_tokens": count,
        "tokens": jnp.sum(batch["segment_ids"] > 0, dtype=jnp.float32),
    }
    return loss / jnp.maximum(count, 1.0), jax.lax.stop_gradient(parts)


def token_losses(
    logits: Float32[Array, "B T V"], targets: Int[Array, "B T"]
) -> tuple[Float32[Array, "B T"], Bool[Array, "B T"]]:
    """Cross entropy of each target in nats, and whether no logit is above the target's.

    Compares instead of indexing, so that a vocabulary cut over devices stays where it is.
    """
    logits = sharding.constrain(logits, ("batch", "length", "vocab"))
    is_target = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) == targets[..., None]
    of_target = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    log_total = top + jnp.log(jnp.sum(jnp.exp(logits - top[..., None]), axis=-1))
    return log_total - of_target, of_target >= top


def _block_width(rows: int, length: int, block: int) -> int:
    """Tokens of every row in one block, so that a device's rows have about `block` together."""
    mesh = jax.sharding.get_abstract_mesh()
    cuts = sharding.batch_cuts(mesh)
    return max(1, min(length, block * cuts // rows))


def _blocks(array: Array, width: int) -> Array:
    """`[B, T, ...]` as `[blocks, B, width, ...]`, padded with zeros (which weigh nothing)."""
    rows, length = array.shape[:2]
    rest = [(0, 0)] * (array.ndim - 2)
    padded = jnp.pad(array, [(0, 0), (0, -length % width), *rest])
    return jnp.moveaxis(padded.reshape(rows, -1, width, *array.shape[2:]), 1, 0)
