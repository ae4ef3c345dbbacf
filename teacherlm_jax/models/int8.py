"""Weights in int8: kernels and tables with one scale for each output channel.

A model in this form has an int8 array in place of each kernel and table, and beside it, under the
same name with SCALE, a float32 array of the same rank, whose axes are 1 where the values of a
channel share a scale. Value and scale are those of a `qwix.QArray`; qwix quantizes. The products
are computed here: `qwix.einsum` multiplies the kernel by its scale before the product if the other
operand is a float array, which rounds each weight to the compute dtype and costs a multiplication
per weight and use. Integers up to 128 are exact in bfloat16, so `models` multiplies by them and
scales the result.
"""

import functools
import types
from collections.abc import Collection

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Sharding
from jaxtyping import Array, Float, Float32, Int8

from teacherlm_jax.errors import UserError
from teacherlm_jax.sharding import Tree

NAME = "int8"  # of these weights in settings and rows
SCALE = "_scale"  # suffix of the name of an array's scale


def as_int8(array: nnx.Param, shared: Collection[int]) -> tuple[nnx.Param, nnx.Param]:
    """Return the parameters that replace a kernel or table: int8 values and their scale, as zeros.

    The axes `shared` are those that the values of an output channel extend over.
    """
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(array.shape))
    axes = tuple("shared" if axis in shared else name for axis, name in enumerate(array.axes))
    values = nnx.Param(jnp.zeros(array.shape, jnp.int8), axes=array.axes)
    return values, nnx.Param(jnp.zeros(shape, jnp.float32), axes=axes)


def is_scale(name: str) -> bool:
    """Return whether a parameter of this name, without its path, is the scale of another one."""
    return name.endswith(SCALE)


def quantized(parameters: Tree, abstract: Tree) -> Tree:
    """Return the parameters of a model with the structure of one in int8.

    Args:
        parameters: nested dicts of arrays. Those that become int8 are deleted one by one.
        abstract: the same with shape, dtype and sharding of int8 values and scales.

    Raises UserError if qwix is not installed.
    """
    whole: Tree = {}
    for name, wanted in abstract.items():
        if isinstance(wanted, dict):
            whole[name] = quantized(parameters[name], wanted)
        elif name + SCALE in abstract:
            scale = abstract[name + SCALE]
            whole[name], whole[name + SCALE] = quantize(
                parameters[name], scale.shape, wanted.sharding, scale.sharding
            )
            jax.block_until_ready(whole[name])
            parameters[name].delete()
        elif not is_scale(name):
            whole[name] = parameters[name]
    return whole


def restored(abstract: Tree) -> Tree:
    """Return the abstract parameters, in float32, that `quantized` takes for those in int8."""
    whole: Tree = {}
    for name, wanted in abstract.items():
        if isinstance(wanted, dict):
            whole[name] = restored(wanted)
        elif name + SCALE in abstract:
            whole[name] = jax.ShapeDtypeStruct(wanted.shape, jnp.float32, sharding=wanted.sharding)
        elif not is_scale(name):
            whole[name] = wanted
    return whole


def quantize(
    array: Float[Array, "..."],
    scale_shape: tuple[int, ...],
    of_values: Sharding | None = None,
    of_scale: Sharding | None = None,
) -> tuple[Int8[Array, "..."], Float32[Array, "..."]]:
    """Return an array in int8, and its scale of the given shape, with these shardings.

    A value is off by at most half of its scale, which is the largest value of the channel divided
    by 127.5. Raises UserError if qwix is not installed.
    """
    require_qwix()
    return _compiled(tuple(scale_shape), of_values, of_scale)(array)


@functools.cache
def _compiled(scale_shape, of_values, of_scale):
    channels = [axis for axis, size in enumerate(scale_shape) if size > 1]

    def made(array):
        whole = require_qwix().quantize(
            array.astype(jnp.float32), jnp.int8, channelwise_axes=channels
        )
        return whole.qvalue, whole.scale

    return jax.jit(made, out_shardings=(of_values, of_scale))


def dequantized(values: Int8[Array, "..."], scale: Float32[Array, "..."]) -> Float32[Array, "..."]:
    """Return the array that a quantized one stands for."""
    return values.astype(scale.dtype) * jnp.broadcast_to(scale, values.shape)


def require_qwix() -> types.ModuleType:
    """Return the module qwix; UserError with the command that installs it if it is missing."""
    try:
        import qwix
    except ImportError:
        raise UserError(
            "weights='int8' needs the package qwix; install it with "
            "`pip install -r requirements-int8.txt` in a clone of the repository"
        ) from None
    return qwix
