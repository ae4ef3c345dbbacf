"""Memory of the devices beside what a training run needs at least; refused before it allocates."""

import math
import os
import resource
from pathlib import Path

import jax
from jax.sharding import Mesh

from teacherlm_jax.errors import UserError
from teacherlm_jax.sharding import Tree
from teacherlm_jax.training.state import TrainState

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def refuse_too_large(state: TrainState, mesh: Mesh) -> None:
    """Raise UserError if parameters, optimizer and gradients alone exceed a device's memory.

    `state` is abstract. Activations come on top of that, so this refuses only what cannot fit.
    """
    device = mesh.local_devices[0]
    limit, shared = available(device), len(mesh.local_devices) if device.platform == "cpu" else 1
    parameters, optimizer = held(state.params) * shared, held(state.opt_state) * shared
    needed = 2 * parameters + optimizer  # gradients are as large as the parameters
    if limit is None or needed <= limit:
        return
    devices = 2 ** math.ceil(math.log2(mesh.size * needed / limit))
    raise UserError(
        f"config.model: needs at least {needed / GIB:.1f} GiB per device before activations "
        f"(parameters {parameters / GIB:.1f}, optimizer {optimizer / GIB:.1f}, gradients "
        f"{parameters / GIB:.1f}), but {device.device_kind} has {limit / GIB:.1f} GiB; use a "
        f"smaller model, or config.mesh.fsdp over at least {devices} such devices"
    )


def held(tree: Tree) -> int:
    """Return the bytes that one device holds of a tree of abstract arrays."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def available(device: jax.Device) -> int | None:
    """Return the bytes that a device can hold; None if it does not say.

    For a CPU it is the smallest of RLIMIT_AS, the cgroup's limit and the physical memory.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    text = _CGROUP.read_text().strip() if _CGROUP.exists() else "max"
    return min([*limits, int(text)] if text.isdigit() else limits)
