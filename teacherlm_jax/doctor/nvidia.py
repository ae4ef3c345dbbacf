"""The NVIDIA driver and JAX's CUDA packages, and the memory that all processes use of each GPU."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.doctor.finding import OK, PROBLEM, Finding
from teacherlm_jax.runs.versions import version_of

INSTALL = "run pip install -r requirements-cuda.txt in the clone"
_GPUS = (Path("/dev/nvidia0"), Path("/dev/nvidiactl"), Path("/dev/dxg"))  # those that JAX looks for
_DRIVER = Path("/proc/driver/nvidia/version")
_OLDEST = {"jax-cuda12-plugin": 525, "jax-cuda13-plugin": 580}  # drivers that JAX supports
_ASK_SECONDS = 20  # timeout for nvidia-smi


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU."""
    return any(path.exists() for path in _GPUS)


def examine() -> Iterator[Finding]:
    """Yield the finding about the NVIDIA driver and the CUDA packages, if there is either."""
    if not has_gpu() and not _DRIVER.exists():
        return
    version = _driver_version()
    plugins = {name: version_of(name) for name in _OLDEST}
    present = {name: found for name, found in plugins.items() if found != "not installed"}
    figures = {"driver": version, **present}
    shown = f"driver {version or 'unknown'}"
    shown += "".join(f", {name} {found}" for name, found in present.items())
    if not present:
        text = f"{shown}; JAX's CUDA packages are not installed"
        yield Finding("CUDA", PROBLEM, text, INSTALL, figures)
        return
    major = int(version.partition(".")[0]) if version and version[0].isdigit() else None
    needed = max(_OLDEST[name] for name in present)
    if major is not None and major < needed:
        remedy = f"update the driver to {needed} or later"
        remedy += ", or install jax[cuda12]" if needed == 580 and major >= 525 else ""
        yield Finding("CUDA", PROBLEM, f"{shown}, which needs driver {needed}", remedy, figures)
    else:
        yield Finding("CUDA", OK, shown, "", figures)


def used_memory() -> list[tuple[int, int]]:
    """Return used and total MiB of each GPU, of all processes together; empty if not stated."""
    answered = _nvidia_smi("memory.used,memory.total")
    return [(int(row[0]), int(row[1])) for row in answered if "".join(row).isdigit()]


def _driver_version() -> str:
    """Return the version of the driver; empty if nothing states it."""
    if answered := _nvidia_smi("driver_version"):
        return answered[0][0]
    text = _DRIVER.read_text(errors="replace") if _DRIVER.exists() else ""
    match = re.search(r"Kernel Module.*?(\d+\.\d+(?:\.\d+)?)", text)
    return match[1] if match else ""


def _nvidia_smi(query: str) -> list[list[str]]:
    """Return the answer of nvidia-smi, one row for each GPU; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line]
    right = done.returncode == 0 and all(len(row) == len(query.split(",")) for row in rows)
    return rows if right else []
