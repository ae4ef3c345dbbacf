"""The number of devices that a refusal of a too large model names."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError


def _refuse_too_large(shards, limit):
    """Check 4,096 bytes in `shards` parts on accelerators of `limit` bytes."""
    mesh = sharding.make_mesh(MeshConfig(fsdp=shards), jax.devices()[:shards])
    parts = NamedSharding(mesh, PartitionSpec("fsdp"))
    parameters = {"weight": jax.ShapeDtypeStruct((1024,), jnp.float32, sharding=parts)}
    stats = {"bytes_limit": limit}
    device = SimpleNamespace(platform="gpu", device_kind="H100", memory_stats=lambda: stats)
    accelerators = SimpleNamespace(local_devices=[device] * shards)
    capacity.refuse_too_large("model", parameters, accelerators, convertible=False)


@pytest.mark.parametrize(("limit", "devices"), [(4095, 2), (2048, 2), (2047, 4), (512, 8)])
def test_the_parameters_fit_on_the_number_of_devices_that_the_message_names(limit, devices):
    with pytest.raises(UserError, match=r"but H100 has .* GiB; use a smaller model, or ") as error:
        _refuse_too_large(1, limit)
    (named,) = re.findall(r"set config\.mesh\.fsdp to at least (\d+) on that", str(error.value))
    assert int(named) == devices
    _refuse_too_large(devices, limit)
