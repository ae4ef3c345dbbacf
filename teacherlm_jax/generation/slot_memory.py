"""Memory of an engine's slots, compared with the free memory of the devices."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import jax
from jaxtyping import PyTree

from teacherlm_jax.capacity import bytes_per_device
from teacherlm_jax.errors import UserError, is_out_of_memory
from teacherlm_jax.wording import GIB

_OTHER_KEYS = "config.prompt_length or config.sampling.max_new_tokens"


def refuse_too_many(state: PyTree, parameters: PyTree, slots: int, shards: int) -> None:
    """Raise UserError if the state of all slots exceeds the memory that is free on a device.

    Args:
        state: shapes (ShapeDtypeStruct) of all slots, the KV cache among them.
        parameters: the model's; abstract ones have no devices, so nothing is checked.
        slots: number of texts in `state`.
        shards: devices that share the slots; the number that the message names is a multiple.
    """
    first = jax.tree.leaves(parameters)[0]
    if not isinstance(first, jax.Array) or isinstance(first, jax.core.Tracer):
        return
    devices = first.sharding.addressable_devices
    free = [size for device in devices if (size := free_bytes(device, len(devices))) is not None]
    needed = bytes_per_device(state)
    if not free or needed <= min(free):
        return
    fit = int(min(free) / needed * slots) // shards * shards
    fewer = f"config.slots (to at most {fit}), " if fit else ""
    raise UserError(
        f"config.slots: the KV cache of {slots} texts needs {needed / GIB:.2f} GiB per "
        f"device, and {min(free) / GIB:.2f} GiB are free; lower {fewer}{_OTHER_KEYS}"
    )


@contextlib.contextmanager
def report_shortage(slots: int) -> Iterator[None]:
    """Turn an out-of-memory error of JAX into a UserError that names the keys to lower."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise UserError(
            f"config.slots: out of memory while generating {slots} texts at a time ({reason}); "
            f"lower config.slots, {_OTHER_KEYS}"
        ) from error


def free_bytes(device: jax.Device, sharing: int = 1) -> int | None:
    """Return the bytes that a device has free; None if it is unknown.

    A CPU has what its machine has available, or less under a limit of the address space, divided
    by the number of simulated devices that share it.
    """
    if device.platform == "cpu":
        free = _free_on_host()
        return None if free is None else free // sharing
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def _free_on_host() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    free = [] if limit == resource.RLIM_INFINITY else [limit - _kib("/proc/self/status", "VmSize")]
    if Path("/proc/meminfo").exists():
        free.append(_kib("/proc/meminfo", "MemAvailable"))
    return min(free, default=None)


def _kib(path: str, name: str) -> int:
    """Return a figure of a file in /proc, given there in KiB, in bytes."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    return 0
