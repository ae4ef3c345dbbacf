import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.fingerprint import digest, fingerprint
from teacherlm_jax.config import MeshConfig


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.at[3, 1].set(jnp.nextafter(x[3, 1], jnp.float32(9))),
        lambda x: x.at[3, 1].set(x[2, 1]).at[2, 1].set(x[3, 1]),
        lambda x: -x,
        lambda x: x[::-1],
        lambda x: x.reshape(4, 16),
        lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
    ],
)
def test_any_change_of_a_parameter_changes_the_digest(change):
    x = jax.random.normal(jax.random.key(0), (8, 8))
    assert digest(fingerprint({"x": x})) != digest(fingerprint({"x": change(x)}))


def test_the_digest_does_not_depend_on_the_sharding():
    x = jax.random.normal(jax.random.key(0), (2, 8, 6))
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    sharded = jax.NamedSharding(mesh, jax.P("data", ("fsdp", "tensor")))
    assert fingerprint({"x": jax.device_put(x, sharded)}) == fingerprint({"x": x})
    assert fingerprint({"x": x.astype(jnp.bfloat16)})["x"]["dtype"] == "bfloat16"


@pytest.mark.parametrize("shape", [(), (24,), (4, 6), (2, 3, 4), (2, 2, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint32"])
def test_the_checksum_is_the_documented_sum_of_hashes(shape, dtype):
    def mixed(x):
        x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
        return x ^ (x >> 16)

    size = math.prod(shape)
    array = np.asarray(jnp.arange(1, size + 1).astype(dtype).reshape(shape))
    bits = array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}").astype(np.uint32)
    hashes = mixed(bits ^ mixed(np.arange(size, dtype=np.uint32)))
    actual = fingerprint({"x": jnp.asarray(array)})["x"]
    assert actual == {
        "shape": list(shape),
        "dtype": dtype,
        "checksum": int(hashes.astype(np.uint64).sum() % 2**32),
    }
