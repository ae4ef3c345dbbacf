"""A look at the devices, in a process of its own: opening them may hang or end the process.

Prints one line of JSON: devices, their memory, and FLOP/s of a matrix product on the first one.
"""

import json
import logging
import re
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from teacherlm_jax.training.flops import peak

_WIDTH = {"cpu": 1024}  # of the matrices, by platform
_WIDE = 8192
_UNAVAILABLE = re.compile(r"Unable to initialize backend '(\w+)': (.+)", re.DOTALL)
_CPU_SECONDS = 5.0  # more show nothing new: no peak is known for a CPU
_WINDOWS = 10  # parts of the time, of which the fastest counts


class _Unavailable(logging.Handler):
    """Collects why JAX could not open devices of a kind, which it only logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note the reason in a record, if it has one."""
        if match := _UNAVAILABLE.match(record.getMessage()):
            self.reasons[match[1]] = " ".join(match[2].split())[:300]


def main(seconds: float) -> None:
    """Print what is known about the devices; multiply matrices for `seconds`, if that is not 0.

    A CPU multiplies for five seconds at most.
    """
    unavailable, log = _Unavailable(), logging.getLogger("jax._src.xla_bridge")
    log.setLevel(logging.DEBUG)
    log.addHandler(unavailable)
    log.propagate = False
    devices = jax.local_devices()
    first = devices[0]
    stats = [device.memory_stats() or {} for device in devices]
    found: dict[str, Any] = {
        "platform": first.platform,
        "kind": first.device_kind,
        "local": len(devices),
        "all": jax.device_count(),
        "memory": [
            {"limit": one.get("bytes_limit"), "used": one.get("bytes_in_use")} for one in stats
        ],
        "unavailable": unavailable.reasons,
        "peak": peak(first.device_kind),
    }
    if seconds > 0:
        found["matmul"] = _multiply(
            first, min(seconds, _CPU_SECONDS) if first.platform == "cpu" else seconds
        )
    print(json.dumps(found), flush=True)


def _multiply(device: jax.Device, seconds: float) -> dict[str, Any]:
    """Return the FLOP/s of products of square matrices on a device.

    They are in bfloat16; on a CPU, which has no units for it, in float32.
    """
    is_cpu = device.platform == "cpu"
    width, dtype = _WIDTH.get(device.platform, _WIDE), jnp.float32 if is_cpu else jnp.bfloat16
    key = jax.device_put(jax.random.key(0), device)
    left = jax.random.normal(key, (width, width), dtype) * width**-0.5  # keeps the size of numbers
    product = jax.jit(lambda left, right: left @ right)
    began = time.monotonic()
    right = product(left, left).block_until_ready()  # compiles
    compiled = time.monotonic() - began
    began = time.monotonic()
    right = product(left, right).block_until_ready()
    count = max(1, int(seconds / _WINDOWS / max(time.monotonic() - began, 1e-6)))
    best, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        for _ in range(count):
            right = product(left, right)
        right.block_until_ready()
        best = max(best, 2.0 * width**3 * count / (time.monotonic() - began))
    return {"flops": best, "width": width, "dtype": left.dtype.name, "compile_seconds": compiled}


if __name__ == "__main__":
    main(float(sys.argv[1]))
