"""A model's values in one line: shape, dtype and checksum of every array, the same on any mesh."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt32

from teacherlm_jax.sharding import Tree


def digest(parameters: Mapping[str, Any]) -> str:
    """`sha256:…` of a fingerprint: names the values of a model's parameters."""
    text = json.dumps(parameters, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def fingerprint(params: Tree) -> dict[str, dict[str, Any]]:
    """Shape, dtype and checksum of every parameter by name; the same on any mesh."""
    # One array after the other: the hashes of a large one take memory.
    return {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "checksum": int(_checksum(array)),
        }
        for name, array in named_leaves(params)
    }


def first_other_kind(saved: Mapping[str, Any], abstract: Tree) -> tuple[str, str, str] | None:
    """The first array, by name, that a fingerprint and a tree of shapes do not agree on.

    Gives its name and both kinds, as in "float32[2, 16]" or, where it is missing, "nothing"; None
    when all agree.
    """
    wanted = {name: f"{array.dtype}{list(array.shape)}" for name, array in named_leaves(abstract)}
    found = {name: f"{entry['dtype']}{entry['shape']}" for name, entry in saved.items()}
    for name in sorted(wanted.keys() | found.keys()):
        kinds = found.get(name, "nothing"), wanted.get(name, "nothing")
        if kinds[0] != kinds[1]:
            return name, *kinds
    return None


def as_saved(abstract: Tree, saved: Mapping[str, Any]) -> Tree:
    """A tree of shapes with the dtypes of a fingerprint."""

    def held(path: Any, array: Any) -> jax.ShapeDtypeStruct:
        dtype = saved.get(leaf_name(path), {}).get("dtype", array.dtype)
        return jax.ShapeDtypeStruct(array.shape, jnp.dtype(dtype), sharding=array.sharding)

    return jax.tree_util.tree_map_with_path(held, abstract)


def named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    """The leaves of nested dicts in JAX's order, each with its path, as in "blocks/up/bias"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(leaf_name(path), leaf) for path, leaf in leaves]


def leaf_name(path: Any) -> str:
    """A path of JAX's tree utilities as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


@jax.jit
def _checksum(array: Array) -> UInt32[Array, ""]:
    """Sum over elements of a hash of their bits and their place, modulo 2^32.

    Integer sums are exact in any order, so the devices that hold the pieces need not agree on one.
    At a place the hash is one to one: a change in a single element always changes the sum.
    """
    if array.ndim < 3:
        return _summed(array, jnp.uint32(0))
    # Stacked layers one by one: on a CPU the hashes take as much memory as what they are of.
    size = np.uint32(math.prod(array.shape[1:]) % 2**32)

    def add(layer: Int32[Array, ""], total: UInt32[Array, ""]) -> UInt32[Array, ""]:
        part = jax.lax.dynamic_index_in_dim(array, layer, keepdims=False)
        return total + _summed(part, layer.astype(jnp.uint32) * size)

    return jax.lax.fori_loop(0, array.shape[0], add, jnp.uint32(0))


def _summed(array: Array, start: UInt32[Array, ""]) -> UInt32[Array, ""]:
    """The sum over an array whose first element's place is `start`."""
    bits = jax.lax.bitcast_convert_type(array, np.dtype(f"uint{array.dtype.itemsize * 8}"))
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    return jnp.sum(_mixed(bits.astype(jnp.uint32) ^ _mixed(place + start)), dtype=jnp.uint32)


def _mixed(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """MurmurHash3's finaliser: one to one, and every bit of `x` moves every bit of the result."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
