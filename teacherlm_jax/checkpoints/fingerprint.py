"""Fingerprints of parameters: shape, dtype and checksum of every array, the same on any mesh."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, Shaped, UInt32

from teacherlm_jax.sharding import Tree

_DIGEST = "digest"  # key of a sealed object


def digest(parameters: Mapping[str, Any]) -> str:
    """Return the `sha256:…` digest of a fingerprint, which identifies a model's parameters."""
    text = json.dumps(parameters, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def fingerprint(params: Tree) -> dict[str, dict[str, Any]]:
    """Return shape, dtype and checksum of every parameter by name; the same on any mesh."""
    # One array at a time: the hashes of a large array take memory.
    return {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "checksum": int(_checksum(array)),
        }
        for name, array in named_leaves(params)
    }


def first_other_kind(saved: Mapping[str, Any], abstract: Tree) -> tuple[str, str, str] | None:
    """Return the first array, by name, on which a fingerprint and abstract arrays differ.

    Returns its name and both types, such as "float32[2, 16]" or "nothing" for a missing array; None
    if all arrays agree.
    """
    wanted = {name: f"{array.dtype}{list(array.shape)}" for name, array in named_leaves(abstract)}
    found = {name: f"{entry['dtype']}{entry['shape']}" for name, entry in saved.items()}
    for name in sorted(wanted.keys() | found.keys()):
        kinds = found.get(name, "nothing"), wanted.get(name, "nothing")
        if kinds[0] != kinds[1]:
            return name, *kinds
    return None


def as_saved(abstract: Tree, saved: Mapping[str, Any]) -> Tree:
    """Return abstract arrays with the dtypes of a fingerprint."""

    def held(path: Any, array: Any) -> jax.ShapeDtypeStruct:
        dtype = saved.get(leaf_name(path), {}).get("dtype", array.dtype)
        return jax.ShapeDtypeStruct(array.shape, jnp.dtype(dtype), sharding=array.sharding)

    return jax.tree_util.tree_map_with_path(held, abstract)


def named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    """Return the leaves of nested dicts in JAX's order, with paths such as "blocks/up/bias"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(leaf_name(path), leaf) for path, leaf in leaves]


def leaf_name(path: Any) -> str:
    """Return a path of JAX's tree utilities as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


@jax.jit
def _checksum(array: Shaped[Array, "..."]) -> UInt32[Array, ""]:
    """Return the sum over elements of a hash of their bits and positions, modulo 2^32.

    Integer sums are exact in any order, so they do not depend on the sharding. At each position the
    hash is a bijection of the bits: a change of a single element always changes the sum.
    """
    if array.ndim < 3:
        return _summed(array, jnp.uint32(0))
    # Stacked layers one by one: on a CPU the hashes take as much memory as the array.
    size = np.uint32(math.prod(array.shape[1:]) % 2**32)

    def add(layer: Int32[Array, ""], total: UInt32[Array, ""]) -> UInt32[Array, ""]:
        part = jax.lax.dynamic_index_in_dim(array, layer, keepdims=False)
        return total + _summed(part, layer.astype(jnp.uint32) * size)

    return jax.lax.fori_loop(0, array.shape[0], add, jnp.uint32(0))


def _summed(array: Shaped[Array, "..."], start: UInt32[Array, ""]) -> UInt32[Array, ""]:
    """Return the sum over an array whose first element has the position `start`."""
    bits = jax.lax.bitcast_convert_type(array, np.dtype(f"uint{array.dtype.itemsize * 8}"))
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    return jnp.sum(_mixed(bits.astype(jnp.uint32) ^ _mixed(place + start)), dtype=jnp.uint32)


def _mixed(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Apply MurmurHash3's finalizer, a bijection in which every bit affects every bit."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def sealed(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its own digest added."""
    return {**meta, _DIGEST: digest(meta)}


def unsealed(content: Any) -> dict[str, Any] | None:
    """Return what `sealed` was given, or None if it has changed since."""
    if not isinstance(content, dict):
        return None
    meta = {key: value for key, value in content.items() if key != _DIGEST}
    return meta if content.get(_DIGEST) == digest(meta) else None
