"""One update, compiled for a mesh."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float32

from teacherlm_jax.sharding import batch_sharding, replicated
from teacherlm_jax.training.loss import next_token_loss
from teacherlm_jax.training.state import TrainState, shardings

Batch = Mapping[str, jax.Array]  # tokens, positions, segment_ids, loss_mask: [B, T]
Metrics = dict[str, Float32[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    loss_block: int,
) -> tuple[TrainState, Metrics]:
    """The state after one update on `batch`, and the step's metrics.

    Metrics are the sums of `loss.next_token_loss` and `grad_norm`, the gradient's norm before
    clipping. A batch without loss tokens has a gradient of zero.
    """

    def loss_of(params):
        return next_token_loss(nnx.merge(graph, params), batch, loss_block)

    gradient, metrics = jax.grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["grad_norm"] = optax.tree.norm(gradient)
    return TrainState(params, opt_state, state.step + 1, state.key), metrics


def compile_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    batch: Batch,
    mesh: Mesh,
    loss_block: int,
) -> Step:
    """`train_step` compiled for the shapes and shardings of `abstract` and `batch`.

    The state passed in is used up (its memory holds the new one). Call within `jax.set_mesh(mesh)`.
    """

    def step(state, batch):
        return train_step(state, batch, graph=graph, optimizer=optimizer, loss_block=loss_block)

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
