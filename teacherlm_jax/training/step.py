"""One update of the parameters, compiled for a mesh."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Shaped

from teacherlm_jax.sharding import Tree, batch_sharding, constrain, replicated
from teacherlm_jax.training.loss import next_token_loss, next_tokens
from teacherlm_jax.training.state import TrainState, shardings

# tokens, positions, segment_ids, loss_mask
DeviceBatch = Mapping[str, Shaped[Array, "B T"]]
BatchShapes = Mapping[str, jax.ShapeDtypeStruct]
Metrics = dict[str, Shaped[Array, "..."]]  # float32 scalars, and `finite`, bool [B]
UpdateFn = Callable[[TrainState, DeviceBatch], tuple[TrainState, Metrics]]


def train_step(
    state: TrainState,
    batch: DeviceBatch,
    *,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    loss_block: int,
    accumulate: int = 1,
) -> tuple[TrainState, Metrics]:
    """Return the state after one update on `batch`, and the metrics of the step.

    The batch goes through the model in `accumulate` parts, one after another, whose gradients add
    up to that of the whole batch; B must be divisible by it.

    Frozen parameters have no gradient.

    Metrics are the sums of `loss.next_token_loss` and `grad_norm`, the norm of the gradient before
    clipping. The gradient of a batch without trained tokens is zero.
    """

    def loss_of(params, part, share_of):
        whole = dataclasses.replace(state, params=params).model_params
        return next_token_loss(nnx.merge(graph, whole), part, loss_block, share_of)

    gradient_of = jax.grad(loss_of, has_aux=True)
    if accumulate == 1:
        gradient, metrics = gradient_of(state.params, batch, None)
    else:
        gradient, metrics = _accumulated(gradient_of, state.params, batch, accumulate)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["grad_norm"] = optax.tree.norm(gradient)
    return TrainState(params, opt_state, state.step + 1, state.key, state.frozen), metrics


def _accumulated(
    gradient_of: Callable[..., tuple[Tree, Metrics]], params: Tree, batch: DeviceBatch, parts: int
) -> tuple[Tree, Metrics]:
    """Return the sums over all parts of gradients (in the parameters' dtype) and metrics."""
    share_of = jnp.sum(next_tokens(batch)[1], dtype=jnp.float32)
    # Part p has the rows whose number modulo `parts` is p, so that no row moves to another device.
    split = {
        name: jnp.swapaxes(rows.reshape(-1, parts, *rows.shape[1:]), 0, 1)
        for name, rows in batch.items()
    }

    def add(total, part):
        part = {name: constrain(rows, ("batch", "length")) for name, rows in part.items()}
        gradient, metrics = gradient_of(params, part, share_of)
        finite = metrics.pop("finite")
        return jax.tree.map(jnp.add, total, (gradient, metrics)), finite

    first = {name: rows[0] for name, rows in split.items()}
    shapes = jax.eval_shape(gradient_of, params, first, share_of)
    zeros = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), shapes)
    zeros[1].pop("finite")
    (gradient, metrics), finite = jax.lax.scan(add, zeros, split)
    return gradient, {**metrics, "finite": finite.T.reshape(-1)}


def compile_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    batch: BatchShapes,
    mesh: Mesh,
    loss_block: int,
    accumulate: int = 1,
) -> UpdateFn:
    """Compile `train_step` for the shapes and shardings of `abstract` and `batch`.

    Calling the result donates the state passed in: its memory holds the new state. Call both under
    `jax.set_mesh(mesh)`.
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


def batch_shapes(rows: int, length: int, mesh: Mesh) -> BatchShapes:
    """Return shapes, dtypes and shardings of a batch of `rows` packed rows on the mesh."""

    def shape(dtype):
        return jax.ShapeDtypeStruct((rows, length), dtype, sharding=batch_sharding(mesh))

    integers = ("tokens", "segment_ids", "positions")
    return {**{name: shape(jnp.int32) for name in integers}, "loss_mask": shape(jnp.bool_)}
