"""The training state, created directly with its shardings on the mesh."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Int32, UInt32

from teacherlm_jax.sharding import Tree, replicated


@typing.no_type_check  # trees of shapes and shardings have the same structure
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that the next step depends on, except its batch.

    Attributes:
        params: parameters, nested dicts of arrays.
        opt_state: state of the optimizer.
        step: number of updates so far.
        key: data of the random key that the parameters were drawn from.
    """

    params: Tree
    opt_state: Tree
    step: Int32[Array, ""]
    key: UInt32[Array, "2"]


def abstract_state(params: Tree, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Return shapes and shardings of the state for abstract `params` (`sharding.abstract_model`).

    Arrays that the optimizer keeps for a parameter are sharded like it; the rest is replicated.
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
    """Return the shardings of a tree of ShapeDtypeStruct."""
    return jax.tree.map(lambda array: array.sharding, abstract)


def initial_state(
    build: Callable[[nnx.Rngs], nnx.Module],
    optimizer: optax.GradientTransformation,
    abstract: TrainState,
    seed: int,
    params: Tree | None = None,
) -> TrainState:
    """Return the state before the first step, with `params` (donated) or random parameters.

    Everything is created under jit with the shardings of `abstract`, so no device ever holds a
    whole array that is sharded, and the values drawn from `seed` do not depend on the mesh.
    """

    def make(params: Tree | None) -> TrainState:
        key = jax.random.key(seed)
        if params is None:
            params = nnx.to_pure_dict(nnx.state(build(nnx.Rngs(params=key))))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, optimizer.init(params), zero, jax.random.key_data(key))

    return jax.jit(make, out_shardings=shardings(abstract), donate_argnums=0)(params)
