"""The compiler for TPUs on a machine that has none."""

import importlib.util
import os
from pathlib import Path

import jax
from jax.experimental import topologies

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning.chips import TpuSlice

# The compiler must neither ask the cloud what chips there are nor wait for a program that has them.
_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def devices(wanted: TpuSlice) -> list[jax.Device]:
    """The chips of the slice, for meshes to compile for; nothing can run on them.

    This process computes on its CPU from here on, and leaves TPUs that the machine may have alone.

    Raises:
      UserError: there is no compiler (libtpu), or it knows no such slice.
    """
    if not _installed():
        raise UserError(
            "libtpu, the compiler for TPUs, is not installed; install it with "
            "`pip install -r requirements-tpu.txt` in a clone of the repository (it needs no TPU, "
            "but Linux on x86-64), or name the library in TPU_LIBRARY_PATH"
        )
    os.environ |= _SETTINGS
    os.environ["TPU_ACCELERATOR_TYPE"] = f"v5litepod-{wanted.chips}"  # any will do
    jax.config.update("jax_platforms", "cpu")
    # Programs for chips that are not here can be written to the cache, but not be read from it.
    jax.config.update("jax_enable_compilation_cache", False)
    more = {"chips_per_host_bounds": wanted.shape + (1,) * (3 - len(wanted.shape))}
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=wanted.name, **(more if wanted.chips == 1 else {})
        )
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--topology={wanted.name}: the compiler knows no such slice ({reason}); choose a "
            "shape that Cloud TPU offers"
        ) from None
    if len(description.devices) != wanted.chips:
        raise UserError(
            f"--topology={wanted.name}: the compiler sees {len(description.devices)} devices in "
            f"{wanted.chips} chips; install the libtpu that fits this JAX with "
            "`pip install -r requirements-tpu.txt` in a clone of the repository"
        )
    return list(description.devices)


def _installed() -> bool:
    """Whether JAX will find the library: by the environment, or as a package."""
    named = os.environ.get("TPU_LIBRARY_PATH")
    if named and Path(named).is_file():
        return True
    return importlib.util.find_spec("libtpu") is not None
