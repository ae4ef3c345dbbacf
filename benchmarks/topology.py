"""The TPU compiler (libtpu) on a machine without a TPU.

It is installed in a separate folder. If every program could import it, JAX would look for TPUs in
each of them and warn that there are none.
"""

import importlib.metadata
import os
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "tpu"  # where `make setup-test` puts it


def environment(accelerator: str) -> dict[str, str] | None:
    """Return the environment of a process that compiles for `accelerator`, such as "v5litepod-4".

    The process gets the devices from `jax.experimental.topologies`. Returns None if libtpu is not
    installed.
    """
    if not (FOLDER / "libtpu").is_dir():
        return None
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **_settings(accelerator), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}


def enable(accelerator: str) -> None:
    """Set up this process, which must run on the CPU, to compile for `accelerator`.

    Raises FileNotFoundError if libtpu is not installed.
    """
    if not (FOLDER / "libtpu").is_dir():
        raise FileNotFoundError(f"{FOLDER}: no libtpu; run make setup-test to install it")
    sys.path.append(str(FOLDER))
    os.environ |= _settings(accelerator)


def _settings(accelerator: str) -> dict[str, str]:
    return {
        "TPU_ACCELERATOR_TYPE": accelerator,
        "TPU_SKIP_MDS_QUERY": "1",  # there is no metadata server
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no process uses a real chip
    }


def version() -> str:
    """Return the version of libtpu, which must be installed."""
    (distribution,) = importlib.metadata.distributions(name="libtpu", path=[str(FOLDER)])
    return distribution.version
