"""Next-token cross entropy that never holds the logits of a whole batch.

With BLOOM's 250,880 tokens, `[B, T, V]` float32 logits would be the largest array of a training
step by far. The loss walks over each device's tokens in blocks instead. The loss being a scalar,
what comes back to it in the backward pass only scales its gradients, so each block makes them from
its logits at once and nothing is computed twice: the fused linear cross entropy of Liger Kernel
(arXiv 2410.10989); Cut Cross-Entropy (arXiv 2411.09009) saves more memory for one product more.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int

from teacherlm_jax import sharding

Axes = tuple[str, ...]  # of the mesh


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
    model: LanguageModel,
    batch: Mapping[str, Array],
    block: int,
    share_of: Float32[Array, ""] | None = None,
) -> tuple[Float32[Array, ""], dict[str, Array]]:
    """Mean cross entropy in nats over the batch's loss tokens (0 when there is none); its parts.

    `batch` holds tokens, positions, segment_ids and loss_mask, `[B, T]` each. `block` is how many
    tokens' logits exist at a time on one device, at most. With `share_of`, the loss tokens of a
    larger batch that this one is a part of, the loss is this part's share of that batch's mean.

    The parts are sums: `loss`, `correct` (loss tokens whose target has the highest logit),
    `loss_tokens`, and `tokens` (all but padding); and of each row whether all that the model made
    of it are numbers, `finite` (bool [B]).
    """
    hidden = model.hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, bears_loss = next_tokens(batch)
    loss, correct = cross_entropy(hidden, model.head_table(), targets, bears_loss, block)
    count = jnp.sum(bears_loss, dtype=jnp.float32)
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
    bears_loss: Bool[Array, "B T"],
    block: int,
) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Sums over the tokens that bear loss: cross entropy in nats, and how many targets come first.

    The logits are `hidden @ table.T` in hidden's dtype, summed and kept in float32, for at most
    `block` tokens of a device at a time. On the mesh in context a vocabulary cut over devices stays
    cut; a table cut along its width is gathered once, and its gradient summed over devices once.
    Reverse differentiation gives hidden's gradient in its dtype, and the table's, summed in
    float32, in the table's.

    Raises UserError, as `sharding.spec` does, for sizes that the mesh does not divide.
    """
    return _on_devices(hidden, table, targets, bears_loss, block, gradients=False)[0]


def _forward(hidden, table, targets, bears_loss, block):
    sums, gradients = _on_devices(hidden, table, targets, bears_loss, block, gradients=True)
    # The table's gradient is summed over devices now: left for later, as a compiler may do, each
    # device's own sum, of a table whole in its width, would lie there during the backward pass.
    of_hidden, of_table = jax.lax.optimization_barrier(gradients)
    return sums, (of_hidden, of_table.astype(table.dtype))


def _backward(block, gradients, cotangents):
    of_loss, _ = cotangents  # a count has no slope
    return *((each * of_loss).astype(each.dtype) for each in gradients), None, None


cross_entropy.defvjp(_forward, _backward)


class _Cuts(NamedTuple):
    """The mesh axes of more than one device that cut tokens, vocabulary and parameters' width."""

    tokens: Axes = ()
    vocab: Axes = ()
    width: Axes = ()

    @classmethod
    def of(cls, mesh: AbstractMesh) -> "_Cuts":
        activations, parameters = sharding.ACTIVATION_RULES, sharding.RULES
        rules = (activations["batch"], activations["vocab"], parameters["embed"])
        return cls(*(tuple(axis for axis in axes if mesh.shape[axis] > 1) for axes in rules))


def _on_devices(hidden, table, targets, bears_loss, block, *, gradients):
    """`_on_device` on every device of the mesh in context, or as it is where there is none."""
    in_use = table.astype(hidden.dtype)  # before it is gathered: bfloat16 is half the bytes
    compute = functools.partial(_on_device, block=block, gradients=gradients)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return compute(hidden, in_use, targets, bears_loss, cuts=_Cuts())
    activations, parameters = sharding.ACTIVATION_RULES, sharding.RULES
    spec = functools.partial(sharding.spec, mesh=mesh)
    tokens = spec(("batch", "length"), targets.shape, name="targets", rules=activations)
    states = spec(("batch", "length", "embed"), hidden.shape, name="hidden", rules=activations)
    gathered = spec(("vocab", "embed"), table.shape, name="head table", rules=activations)
    cut = spec(("vocab", "embed"), table.shape, name="head table", rules=parameters)
    whole = PartitionSpec()
    return jax.shard_map(
        functools.partial(compute, cuts=_Cuts.of(mesh)),
        in_specs=(states, gathered, tokens, tokens),
        out_specs=((whole, whole), (states, cut) if gradients else ()),
        check_vma=False,  # it serves differentiation, which does not go through here
    )(hidden, in_use, targets, bears_loss)


def _on_device(hidden, table, targets, bears_loss, *, block, gradients, cuts):
    """One device's part: the sums over all devices, and this one's piece of the gradients.

    The table's gradient stays a sum over this device's own tokens until the last block, so that it
    crosses the mesh once and not once a block.
    """
    count = targets.size
    blocks = -(-count // block)
    inputs = (hidden.reshape(count, -1), targets.reshape(count), bears_loss.reshape(count))
    inputs = jax.tree.map(lambda array: _split(array, blocks), inputs)

    def add(total, inputs):
        states, targets, bears_loss = inputs
        losses, correct, slopes = _token_losses(states, table, targets, cuts.vocab)
        sums = (
            jnp.sum(losses * bears_loss.astype(losses.dtype)),
            jnp.sum(correct * bears_loss, dtype=jnp.float32),
        )
        if not gradients:
            return jax.tree.map(jnp.add, total, (sums, ())), ()
        slopes = jnp.where(bears_loss[:, None], slopes, 0.0).astype(states.dtype)
        of_states = _product("KV,VE->KE", slopes, table)
        of_states = jax.lax.psum(of_states, cuts.vocab).astype(states.dtype)
        of_table = _product("KV,KE->VE", slopes, states)
        return jax.tree.map(jnp.add, total, (sums, of_table)), of_states

    zero = jnp.zeros((), jnp.float32)
    start = (zero, zero), jnp.zeros(table.shape, jnp.float32) if gradients else ()
    (sums, of_table), of_states = jax.lax.scan(add, start, inputs)
    sums = jax.lax.psum(sums, cuts.tokens)
    if not gradients:
        return sums, ()
    of_hidden = of_states.reshape(-1, table.shape[1])[:count].reshape(hidden.shape)
    of_table = jax.lax.psum_scatter(of_table, cuts.width, scatter_dimension=1, tiled=True)
    others = tuple(axis for axis in cuts.tokens if axis not in cuts.width)
    return sums, (of_hidden, jax.lax.psum(of_table, others))


def _token_losses(
    states: Float[Array, "K E"], table: Float[Array, "V E"], targets: Int[Array, " K"], cuts: Axes
) -> tuple[Float32[Array, " K"], Bool[Array, " K"], Float32[Array, "K V"]]:
    """Of each of K tokens: loss in nats, whether no logit is above the target's, loss by logits.

    `table` is this device's part of a vocabulary cut along the mesh axes `cuts`, and so is V.
    """
    logits = _product("KE,VE->KV", states, table)
    targets = targets - jax.lax.axis_index(cuts) * len(table)  # as this part counts its rows
    is_target = jax.lax.broadcasted_iota(targets.dtype, logits.shape, 1) == targets[:, None]
    within = jnp.clip(targets, 0, len(table) - 1)
    picked = jnp.take_along_axis(logits, within[:, None], axis=1)[:, 0]
    of_target = jax.lax.psum(jnp.where(within == targets, picked, 0.0), cuts)
    top = jax.lax.pmax(jnp.max(logits, axis=1), cuts)
    powers = jnp.exp(logits - top[:, None])
    total = jax.lax.psum(jnp.sum(powers, axis=1), cuts)
    slopes = powers / total[:, None] - is_target.astype(powers.dtype)
    return top + jnp.log(total) - of_target, of_target >= top, slopes


def _product(form: str, a: Array, b: Array) -> Float32[Array, "..."]:
    return jnp.einsum(form, a, b, preferred_element_type=jnp.float32)


def _split(array: Array, blocks: int) -> Array:
    """`[K, ...]` as `[blocks, equal parts of K, ...]`, padded with zeros, which bear no loss."""
    padding = [(0, -len(array) % blocks), *[(0, 0)] * (array.ndim - 1)]
    padded = jnp.pad(array, padding)
    return padded.reshape(blocks, -1, *array.shape[1:])
