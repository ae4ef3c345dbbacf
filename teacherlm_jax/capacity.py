"""Memory of devices, compared with the sizes of arrays before they are allocated."""

import math

import jax
from jax.sharding import Mesh, NamedSharding

from teacherlm_jax import host_memory
from teacherlm_jax.errors import UserError
from teacherlm_jax.sharding import Tree
from teacherlm_jax.wording import GIB


def refuse_too_large(name: str, parameters: Tree, mesh: Mesh, convertible: bool) -> None:
    """Raise UserError if the parameters of a model exceed the memory of a device.

    Args:
        name: path of the model, for the message.
        parameters: abstract arrays with shardings on `mesh`.
        mesh: devices that would hold them.
        convertible: whether `convert` can store the model in bfloat16.
    """
    device = mesh.local_devices[0]
    limit = available(device)
    needed = bytes_per_device(parameters) * sharing(mesh)
    if limit is None or needed <= limit:
        return
    leaves = jax.tree.leaves(parameters)
    dtype = max(leaves, key=lambda leaf: math.prod(leaf.shape)).dtype
    remedies = ["use a smaller model"]
    if convertible and dtype == "float32" and needed / 2 <= limit:
        remedies.append("convert it with --config.dtype=bfloat16, which halves this")
    if device.platform == "cpu":
        remedies.append("use a machine with more memory")
    else:
        total = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        devices = 2 ** math.ceil(math.log2(total / limit))
        remedies.append(f"set config.mesh.fsdp to at least {devices} on that many such devices")
    raise UserError(
        f"{name}: its parameters need {needed / GIB:.3g} GiB per device in {dtype}, but "
        f"{device.device_kind} has {limit / GIB:.3g} GiB; {', '.join(remedies[:-1])}, or "
        f"{remedies[-1]}"
    )


def bytes_per_device(tree: Tree) -> int:
    """Return the bytes that one device holds of a tree of abstract arrays."""
    return sum(map(_of_one_device, jax.tree.leaves(tree)))


def _of_one_device(array: jax.ShapeDtypeStruct) -> int:
    shape = array.shape
    if isinstance(array.sharding, NamedSharding):
        shape = array.sharding.shard_shape(shape)
    return math.prod(shape) * array.dtype.itemsize


def sharing(mesh: Mesh) -> int:
    """Return the number of the mesh's devices that share one memory: those of a simulated CPU."""
    local = mesh.local_devices
    return len(local) if local[0].platform == "cpu" else 1


def available(device: jax.Device) -> int | None:
    """Return the bytes that a device can hold; None if it does not report this.

    For a CPU it is the smallest of RLIMIT_AS, the cgroup's limit and the physical memory.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    return host_memory.limit()
