"""The compiler for TPUs on a machine that has none.

It lies in a folder of its own: found by every program, it would make each of them look for chips,
and complain that there are none.
"""

import importlib.metadata
import os
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "tpu"  # where `make setup-test` puts it


def environment(accelerator: str) -> dict[str, str] | None:
    """For a process that compiles for `accelerator`, such as "v5litepod-4"; None without compiler.

    The process names the chips by `jax.experimental.topologies`.
    """
    if not (FOLDER / "libtpu").is_dir():
        return None
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **_settings(accelerator), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}


def enable(accelerator: str) -> None:
    """Lets this process compile for `accelerator`, if it was started on the CPU.

    Raises FileNotFoundError without compiler.
    """
    if not (FOLDER / "libtpu").is_dir():
        raise FileNotFoundError(f"{FOLDER}: no libtpu; make setup-test puts it there")
    sys.path.append(str(FOLDER))
    os.environ |= _settings(accelerator)


def _settings(accelerator: str) -> dict[str, str]:
    return {
        "TPU_ACCELERATOR_TYPE": accelerator,
        "TPU_SKIP_MDS_QUERY": "1",  # nobody to ask what chips there are
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing here holds a chip
    }


def version() -> str:
    """Of the compiler; it must be there."""
    (found,) = importlib.metadata.distributions(name="libtpu", path=[str(FOLDER)])
    return found.version
