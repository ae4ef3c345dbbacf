"""Next-token cross entropy that never holds the logits of a whole batch.

With BLOOM's 250,880 tokens, `[B, T, V]` float32 logits would be the largest array of a training
step by far, so the loss is computed for one block of each device's tokens at a time. Because the
loss is a scalar, its cotangent only scales its gradients: each block computes them from its logits
in the forward pass, and nothing is computed twice. This is the fused linear cross entropy of Liger
Kernel (arXiv 2410.10989); Cut Cross-Entropy (arXiv 2411.09009) saves more memory at the cost of one
more matrix product.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int, Shaped

from teacherlm_jax import sharding

Axes = tuple[str, ...]  # mesh axes


class LanguageModel(Protocol):
    """The part of a model that the loss needs."""

    def hidden(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment_ids: Int[Array, "B T"],
    ) -> Float[Array, "B T E"]:
        """See `models.decoder.Decoder.hidden`."""

    def head_table(self) -> Float[Array, "V E"]:
        """See `models.decoder.Decoder.head_table`."""


def next_tokens(
    batch: Mapping[str, Shaped[Array, "B T"]],
) -> tuple[Int[Array, "B T"], Bool[Array, "B T"]]:
    """Return the target of each position, and a mask of the positions that are trained.

    Position t predicts token t + 1. It is trained if `loss_mask[t + 1]` is set and both tokens
    belong to the same text, so neither the first token of a text nor padding ever does.
    """
    tokens, segments = batch["tokens"], batch["segment_ids"]
    same_text = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    at_end = ((0, 0), (0, 1))
    return (
        jnp.pad(tokens[:, 1:], at_end),
        jnp.pad(batch["loss_mask"][:, 1:] & same_text, at_end),
    )


def next_token_loss(
    model: LanguageModel,
    batch: Mapping[str, Shaped[Array, "B T"]],
    block: int,
    share_of: Float32[Array, ""] | None = None,
) -> tuple[Float32[Array, ""], dict[str, Shaped[Array, "..."]]]:
    """Return the mean cross entropy in nats over the trained tokens, and its parts.

    Args:
        model: model that returns hidden states and a head table.
        batch: tokens, positions, segment_ids and loss_mask, each `[B, T]`.
        block: largest number of tokens per device whose logits are in memory at the same time.
        share_of: number of loss tokens of the larger batch that this one is a part of; the loss is
            then the share of this part in the mean of that batch. None: this is a whole batch.

    Returns:
        The loss, which is 0 if no token is trained. Sums over the batch, float32: `loss`,
        `correct` (loss tokens whose target has the highest logit), `loss_tokens`, and `tokens`
        (all but padding). And `finite`, bool [B]: rows whose hidden states have no NaN or infinity.
    """
    hidden = model.hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, in_loss = next_tokens(batch)
    loss, correct = cross_entropy(hidden, model.head_table(), targets, in_loss, block)
    count = jnp.sum(in_loss, dtype=jnp.float32)
    parts = {
        "loss": loss,
        "correct": correct,
        "loss_tokens": count,
        "tokens": jnp.sum(batch["segment_ids"] > 0, dtype=jnp.float32),
        "finite": jnp.all(jnp.isfinite(hidden), axis=(1, 2)),
    }
    whole = count if share_of is None else share_of
    return loss / jnp.maximum(whole, 1.0), jax.lax.stop_gradient(parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def cross_entropy(
    hidden: Float[Array, "B T E"],
    table: Float[Array, "V E"],
    targets: Int[Array, "B T"],
    in_loss: Bool[Array, "B T"],
    block: int,
) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Return two sums over the trained tokens: cross entropy in nats, correct predictions.

    A prediction is correct if no logit is above that of the target. The logits are
    `hidden @ table.T` in the dtype of `hidden`, accumulated and kept in float32, for at most
    `block` tokens of a device at a time. On the mesh in context, a table that is sharded along its
    vocabulary stays so; one that is sharded along its width is gathered once, and its gradient is
    summed over the devices once. Each gradient has the dtype of its array; that of the table is
    summed in float32, and is not computed if the table is frozen.

    Raises UserError, as `sharding.spec` does, for sizes that the mesh does not divide.
    """
    return _on_devices(hidden, table, targets, in_loss, block, gradients=())[0]


def _forward(hidden, table, targets, in_loss, block):
    frozen = not table.perturbed
    hidden, table, targets, in_loss = (a.value for a in (hidden, table, targets, in_loss))
    computed = ("hidden",) if frozen else ("hidden", "table")
    sums, gradients = _on_devices(hidden, table, targets, in_loss, block, gradients=computed)
    if frozen:
        return sums, (*gradients, None)
    # The barrier sums the table's gradient over the devices now. If the compiler postponed that,
    # every device would hold its own sum, of the table's full width, during the backward pass.
    of_hidden, of_table = jax.lax.optimization_barrier(gradients)
    return sums, (of_hidden, of_table.astype(table.dtype))


def _backward(block, gradients, cotangents):
    of_loss, _ = cotangents  # a count has no gradient
    scaled = (
        None if array is None else (array.astype(of_loss.dtype) * of_loss).astype(array.dtype)
        for array in gradients
    )  # fmt: skip
    return *scaled, None, None


cross_entropy.defvjp(_forward, _backward, symbolic_zeros=True)


class _ShardAxes(NamedTuple):
    """Mesh axes of more than one device that shard tokens, vocabulary and the parameters' width."""

    tokens: Axes = ()
    vocab: Axes = ()
    width: Axes = ()

    @classmethod
    def of(cls, mesh: AbstractMesh) -> "_ShardAxes":
        activations, parameters = sharding.ACTIVATION_RULES, sharding.RULES
        rules = (activations["batch"], activations["vocab"], parameters["embed"])
        return cls(*(tuple(axis for axis in axes if mesh.shape[axis] > 1) for axes in rules))


def _on_devices(hidden, table, targets, in_loss, block, *, gradients):
    """Run `_on_device` on every device of the mesh in context, or once if there is no mesh.

    `gradients` names the arrays whose gradients are returned: "hidden" and "table", in this order.
    """
    head = table.astype(hidden.dtype)  # before it is gathered: bfloat16 is half the bytes
    compute = functools.partial(_on_device, block=block, gradients=gradients)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return compute(hidden, head, targets, in_loss, axes=_ShardAxes())
    activations, parameters = sharding.ACTIVATION_RULES, sharding.RULES
    spec = functools.partial(sharding.spec, mesh=mesh)
    tokens = spec(("batch", "length"), targets.shape, name="targets", rules=activations)
    states = spec(("batch", "length", "embed"), hidden.shape, name="hidden", rules=activations)
    gathered = spec(("vocab", "embed"), table.shape, name="head table", rules=activations)
    sharded = spec(("vocab", "embed"), table.shape, name="head table", rules=parameters)
    whole = PartitionSpec()
    return jax.shard_map(
        functools.partial(compute, axes=_ShardAxes.of(mesh)),
        in_specs=(states, gathered, tokens, tokens),
        out_specs=((whole, whole), (states, sharded)[: len(gradients)]),
        check_vma=False,  # only needed for differentiation, which custom_vjp replaces
    )(hidden, head, targets, in_loss)


def _on_device(hidden, table, targets, in_loss, *, block, gradients, axes):
    """Return the sums over all devices, and this device's shard of the gradients.

    Until the last block, the table's gradient is a sum over this device's own tokens, so that it is
    reduced over the mesh once and not once per block.
    """
    count = targets.size
    blocks = -(-count // block)
    inputs = (hidden.reshape(count, -1), targets.reshape(count), in_loss.reshape(count))
    inputs = jax.tree.map(lambda array: _split(array, blocks), inputs)

    def add(total, inputs):
        states, targets, in_loss = inputs
        losses, correct, slopes = _token_losses(states, table, targets, axes.vocab)
        sums = (
            jnp.sum(losses * in_loss.astype(losses.dtype)),
            jnp.sum(correct * in_loss, dtype=jnp.float32),
        )
        if not gradients:
            return jax.tree.map(jnp.add, total, (sums, ())), ()
        slopes = jnp.where(in_loss[:, None], slopes, 0.0).astype(states.dtype)
        of_states = _product("KV,VE->KE", slopes, table)
        of_states = jax.lax.psum(of_states, axes.vocab).astype(states.dtype)
        if "table" not in gradients:
            return jax.tree.map(jnp.add, total, (sums, ())), of_states
        of_table = _product("KV,KE->VE", slopes, states)
        return jax.tree.map(jnp.add, total, (sums, of_table)), of_states

    zero = jnp.zeros((), jnp.float32)
    start = (zero, zero), jnp.zeros(table.shape, jnp.float32) if "table" in gradients else ()
    (sums, of_table), of_states = jax.lax.scan(add, start, inputs)
    sums = jax.lax.psum(sums, axes.tokens)
    if not gradients:
        return sums, ()
    of_hidden = of_states.reshape(-1, table.shape[1])[:count].reshape(hidden.shape)
    if "table" not in gradients:
        return sums, (of_hidden,)
    of_table = jax.lax.psum_scatter(of_table, axes.width, scatter_dimension=1, tiled=True)
    others = tuple(axis for axis in axes.tokens if axis not in axes.width)
    return sums, (of_hidden, jax.lax.psum(of_table, others))


def _token_losses(
    states: Float[Array, "K E"], table: Float[Array, "V E"], targets: Int[Array, " K"], axes: Axes
) -> tuple[Float32[Array, " K"], Bool[Array, " K"], Float32[Array, "K V"]]:
    """Return losses in nats, correct predictions, and gradients by logits of K tokens.

    `table` is this device's shard, of V rows, of a vocabulary that is sharded along the mesh axes
    `axes`.
    """
    logits = _product("KE,VE->KV", states, table)
    targets = targets - jax.lax.axis_index(axes) * len(table)  # row numbers within this shard
    is_target = jax.lax.broadcasted_iota(targets.dtype, logits.shape, 1) == targets[:, None]
    within = jnp.clip(targets, 0, len(table) - 1)
    picked = jnp.take_along_axis(logits, within[:, None], axis=1)[:, 0]
    of_target = jax.lax.psum(jnp.where(within == targets, picked, 0.0), axes)
    top = jax.lax.pmax(jnp.max(logits, axis=1), axes)
    powers = jnp.exp(logits - top[:, None])
    total = jax.lax.psum(jnp.sum(powers, axis=1), axes)
    slopes = powers / total[:, None] - is_target.astype(powers.dtype)
    return top + jnp.log(total) - of_target, of_target >= top, slopes


def _product(form: str, a: Float[Array, "_ _"], b: Float[Array, "_ _"]) -> Float32[Array, "_ _"]:
    return jnp.einsum(form, a, b, preferred_element_type=jnp.float32)


def _split(array: Shaped[Array, "K ..."], blocks: int) -> Shaped[Array, "{blocks} _ ..."]:
    """Split `[K, ...]` into `[blocks, K / blocks, ...]`, padded with zeros, which have no loss."""
    padding = [(0, -len(array) % blocks), *[(0, 0)] * (array.ndim - 1)]
    padded = jnp.pad(array, padding)
    return padded.reshape(blocks, -1, *array.shape[1:])
