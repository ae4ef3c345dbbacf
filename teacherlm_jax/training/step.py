"""One update, compiled for a mesh."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from teacherlm_jax.sharding import Tree, batch_sharding, constrain, replicated
from teacherlm_jax.training.loss import next_token_loss, next_tokens
from teacherlm_jax.training.state import TrainState, shardings

Batch = Mapping[str, jax.Array]  # tokens, positions, segment_ids, loss_mask: [B, T]
Metrics = dict[str, Array]  # float32 scalars, and `finite`, bool [B]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    loss_block: int,
    accumulate: int = 1,
) -> tuple[TrainState, Metrics]:
    """The state after one update on `batch`, and the step's metrics.

    With `accumulate`, so many parts of the batch go through the model in turn, and their gradients
    add up to that of the whole; B must be divisible by it.

    Metrics are the parts of `loss.next_token_loss` and `grad_norm`, the gradient's norm before
    clipping. A batch without loss tokens has a gradient of zero.
    """

    def loss_of(params, part, share_of):
        return next_token_loss(nnx.merge(graph, params), part, loss_block, share_of)

    gradient_of = jax.grad(loss_of, has_aux=True)
    if accumulate == 1:
        gradient, metrics = gradient_of(state.params, batch, None)
    else:
        gradient, metrics = _accumulated(gradient_of, state.params, batch, accumulate)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["grad_norm"] = optax.tree.norm(gradient)
    return TrainState(params, opt_state, state.step + 1, state.key), metrics


def _accumulated(
    gradient_of: Callable[..., tuple[Tree, Metrics]], params: Tree, batch: Batch, parts: int
) -> tuple[Tree, Metrics]:
    """The sum of the gradients of all parts, in the parameters' dtype, and of their metrics."""
    share_of = jnp.sum(next_tokens(batch)[1], dtype=jnp.float32)
    # Part p takes every row whose number leaves the remainder p, so that no row changes its device.
    taken = {
        name: jnp.swapaxes(rows.reshape(-1, parts, *rows.shape[1:]), 0, 1)
        for name, rows in batch.items()
    }

    def add(total, part):
        part = {name: constrain(rows, ("batch", "length")) for name, rows in part.items()}
        gradient, metrics = gradient_of(params, part, share_of)
        finite = metrics.pop("finite")
        return jax.tree.map(jnp.add, total, (gradient, metrics)), finite

    first = {name: rows[0] for name, rows in taken.items()}
    shapes = jax.eval_shape(gradient_of, params, first, share_of)
    zeros = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), shapes)
    zeros[1].pop("finite")
    (gradient, metrics), finite = jax.lax.scan(add, zeros, taken)
    return gradient, {**metrics, "finite": finite.T.reshape(-1)}


def compile_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    batch: Batch,
    mesh: Mesh,
    loss_block: int,
    accumulate: int = 1,
) -> Step:
    """`train_step` compiled for the shapes and shardings of `abstract` and `batch`.

    The state passed in is used up (its memory holds the new one). Call within `jax.set_mesh(mesh)`.
    """

    def step(state, batch):
        return train_step(
            state,
            batch,
            graph=graph,
            optimizer=optimizer,
            loss_block=loss_block,
            accumulate=accumulate,
        )

    placed = shardings(abstract)
    jitted = jax.jit(
        step,
        in_shardings=(placed, batch_sharding(mesh)),
        out_shardings=(placed, replicated(mesh)),
        donate_argnums=0,
    )
    return jitted.lower(abstract, batch).compile()


def batch_shapes(rows: int, length: int, mesh: Mesh) -> Batch:
    """What a batch of `rows` packed rows looks like on the mesh."""

    def shape(dtype):
        return jax.ShapeDtypeStruct((rows, length), dtype, sharding=batch_sharding(mesh))

    integers = ("tokens", "segment_ids", "positions")
    return {**{name: shape(jnp.int32) for name in integers}, "loss_mask": shape(jnp.bool_)}
