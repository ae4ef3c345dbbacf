"""What training carries from step to step, born in its place on the mesh."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Int32, UInt32

from teacherlm_jax.sharding import Tree, replicated


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that the next step depends on, besides its batch.

    Attributes:
        params: parameters, nested dicts of arrays.
        opt_state: the optimiser's state.
        step: updates done.
        key: data of the run's random key; the parameters were drawn from it.
    """

    params: Tree
    opt_state: Tree
    step: Int32[Array, ""]
    key: UInt32[Array, "2"]


def abstract_state(params: Tree, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Shapes and shardings of the state over abstract `params` (see `sharding.abstract_model`).

    What the optimiser keeps for a parameter lies as that parameter does; the rest is replicated.
    """
    whole = replicated(mesh)

    def place(array: Any, sharding: Any) -> Any:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    opt_state = optax.tree.map_params(
        optimizer,
        lambda array, param: place(array, param.sharding),
        jax.eval_shape(optimizer.init, params),
        params,
        transform_non_params=lambda array: place(array, whole),
    )
    return TrainState(
        params=params,
        opt_state=opt_state,
        step=place(jax.ShapeDtypeStruct((), jnp.int32), whole),
        key=place(jax.ShapeDtypeStruct((2,), jnp.uint32), whole),
    )


def shardings(abstract: Tree) -> Tree:
    """The shardings of a tree of ShapeDtypeStruct."""
    return jax.tree.map(lambda array: array.sharding, abstract)


def initial_state(
    build: Callable[[nnx.Rngs], nnx.Module],
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    seed: int,
    params: Tree | None = None,
) -> TrainState:
    """The state before the first step, of `params` (which are used up) or drawn from `seed`.

    Everything is made under jit with the shardings of `abstract`, so nothing is ever whole on one
    device, and the drawn values do not depend on the mesh.
    """

    def make(params: Tree | None) -> TrainState:
        key = jax.random.key(seed)
        if params is None:
            params = nnx.to_pure_dict(nnx.state(build(nnx.Rngs(params=key))))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, optimizer.init(params), zero, jax.random.key_data(key))

    return jax.jit(make, out_shardings=shardings(abstract), donate_argnums=0)(params)
