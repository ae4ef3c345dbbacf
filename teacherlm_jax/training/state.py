"""The training state, created directly with its shardings on the mesh."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Int32, UInt32

from teacherlm_jax.models import adapter
from teacherlm_jax.sharding import AnyMesh, Tree, replicated


@typing.no_type_check  # trees of shapes and shardings have the same structure
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that the next step depends on, except its batch.

    Attributes:
        params: parameters that are trained, nested dicts of arrays.
        opt_state: state of the optimizer.
        step: number of updates so far.
        key: data of the random key that the parameters were drawn from.
        frozen: with LoRA, the parameters of the base, which no update changes; else None.
    """

    params: Tree
    opt_state: Tree
    step: Int32[Array, ""]
    key: UInt32[Array, "2"]
    frozen: Tree = None

    @property
    def model_params(self) -> Tree:
        """All parameters of the model."""
        return self.params if self.frozen is None else adapter.joined(self.frozen, self.params)


def abstract_state(
    params: Tree, optimizer: optax.GradientTransformation, mesh: AnyMesh, frozen: Tree = None
) -> TrainState:
    """Return shapes and shardings of the state for abstract `params` (`sharding.abstract_model`).

    Arrays that the optimizer keeps for a parameter are sharded like it; the rest is replicated.
    It keeps none for `frozen` parameters.
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
        frozen=frozen,
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

    If `abstract` has frozen parameters, they are `params`, and the adapters are random.

    Everything is created under jit with the shardings of `abstract`, so no device ever holds a
    whole array that is sharded, and the values drawn from `seed` do not depend on the mesh.
    """

    def make(params: Tree | None) -> TrainState:
        key, frozen = jax.random.key(seed), None
        if params is None or abstract.frozen is not None:
            drawn = nnx.to_pure_dict(nnx.state(build(nnx.Rngs(params=key))))
            frozen, params = (None, drawn) if params is None else (params, adapter.split(drawn)[1])
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, optimizer.init(params), zero, jax.random.key_data(key), frozen)

    return jax.jit(make, out_shardings=shardings(abstract), donate_argnums=0)(params)
