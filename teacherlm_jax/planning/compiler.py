"""The TPU compiler (libtpu) on a machine without a TPU."""

import importlib.util
import os
from pathlib import Path

import jax
from jax.experimental import topologies

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning.chips import TpuSlice

# Otherwise libtpu queries the cloud's metadata server and waits for another process to free chips.
_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def devices(wanted: TpuSlice) -> list[jax.Device]:
    """Return the devices of a slice, to build meshes that programs are compiled for.

    Programs cannot run on these devices. From this call on, the process computes on its CPU and
    does not use TPUs of the machine. Raises UserError if the compiler (libtpu) is not installed or
    does not support the slice.
    """
    if not _installed():
        raise UserError(
            "libtpu, the TPU compiler, is not installed; install it with "
            "`pip install -r requirements-tpu.txt` in a clone of the repository (it needs Linux on "
            "x86-64, but no TPU), or set TPU_LIBRARY_PATH to the library"
        )
    os.environ |= _SETTINGS
    os.environ["TPU_ACCELERATOR_TYPE"] = f"v5litepod-{wanted.chips}"  # any type works
    jax.config.update("jax_platforms", "cpu")
    # JAX can write programs for absent chips to its compilation cache, but cannot read them back.
    jax.config.update("jax_enable_compilation_cache", False)
    bounds = {"chips_per_host_bounds": wanted.shape + (1,) * (3 - len(wanted.shape))}
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=wanted.name, **(bounds if wanted.chips == 1 else {})
        )
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--topology={wanted.name}: the compiler does not support this slice ({reason}); "
            f"choose one whose sizes differ less, as in --topology={wanted.chip.name}:"
            f"{'x'.join(['4'] * wanted.chip.dimensions)}"
        ) from None
    if len(description.devices) != wanted.chips:
        raise UserError(
            f"--topology={wanted.name}: the compiler reports {len(description.devices)} devices "
            f"for {wanted.chips} chips; install the libtpu version that matches this JAX with "
            "`pip install -r requirements-tpu.txt` in a clone of the repository"
        )
    return list(description.devices)


def _installed() -> bool:
    """Return whether JAX can find libtpu, by TPU_LIBRARY_PATH or as a package."""
    path = os.environ.get("TPU_LIBRARY_PATH")
    if path and Path(path).is_file():
        return True
    return importlib.util.find_spec("libtpu") is not None
