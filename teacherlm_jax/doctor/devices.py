"""Accelerators: those that the machine has, those that JAX opens, their memory and speed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from teacherlm_jax.doctor.finding import GIB, OK, PROBLEM, SKIPPED, WARNING, Finding
from teacherlm_jax.errors import one_line
from teacherlm_jax.runs import companions
from teacherlm_jax.runs.versions import version_of

_OPEN_SECONDS = 120  # timeout for opening the devices and compiling
_ASK_SECONDS = 20  # timeout for nvidia-smi
_NVIDIA = Path("/dev/nvidia0")
_DRIVER = Path("/proc/driver/nvidia/version")
_TPUS = (Path("/dev/accel0"), Path("/dev/vfio/0"))
_DRIVERS = {"jax-cuda12-plugin": 525, "jax-cuda13-plugin": 580}  # oldest that JAX supports
_INSTALL = "pip install -r requirements-{extra}.txt in the clone"
_SLOW = 0.5  # share of the peak below which a device is not free or not healthy
_USED = 0.1  # share of the memory that others may use

Probe = Mapping[str, Any]


def examine(seconds: float) -> Iterator[Finding]:
    """Yield the findings about devices; the first one computes for `seconds`."""
    has_nvidia, has_tpu = _NVIDIA.exists(), any(path.exists() for path in _TPUS)
    if has_nvidia or _DRIVER.exists():
        yield from _driver()
    if sign := companions.of_slice(os.environ):
        remedy = "run doctor on all hosts together through a launcher; see `launch a run`"
        yield Finding("devices", SKIPPED, f"{sign}, and JAX would wait for the others", remedy)
        return
    probe, reason = _probe(seconds)
    if probe is None:
        yield Finding("devices", PROBLEM, reason, _remedy(reason))
        return
    yield _opened(probe, has_nvidia, has_tpu)
    if (memory := _memory(probe)) is not None:
        yield memory
    yield _speed(probe)


def _probe(seconds: float) -> tuple[Probe | None, str]:
    """Return what a process of its own finds, or None and the reason."""
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-m", "teacherlm_jax.doctor.probe", f"{seconds:g}"]
    limit = seconds + _OPEN_SECONDS
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"JAX did not open the devices within {limit:.0f} s"
    try:
        return json.loads(done.stdout.strip().rpartition("\n")[2]), ""
    except ValueError:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        why = one_line(last[0])[:300] if last else f"exit status {done.returncode}"
        return None, f"JAX cannot open the devices: {why}"


def _remedy(reason: str) -> str:
    if "already in use" in reason or "within" in reason:
        return (
            "stop other processes that use the devices (fuser -v /dev/accel* /dev/vfio/* "
            "/dev/nvidia*), then try again; or set JAX_PLATFORMS=cpu to work without them"
        )
    if "No module named" in reason:
        return "pip install -r requirements.txt in the clone"
    return "set JAX_PLATFORMS=cpu to work without them, or install JAX for them again"


def _opened(probe: Probe, has_nvidia: bool, has_tpu: bool) -> Finding:
    """Return the finding about the devices that JAX opened."""
    platform, unavailable = probe["platform"], probe["unavailable"]
    several = f"{probe['local']} x " if probe["local"] > 1 else ""
    others = f", of {probe['all']} in all" if probe["all"] > probe["local"] else ""
    kind = "CPU" if platform == "cpu" else f"{probe['kind']} ({platform})"
    text = f"{several}{kind}{others}"
    if platform != "cpu" or not (has_nvidia or has_tpu):
        return Finding("devices", OK, text, "", dict(probe))
    name, extra = ("a TPU", "tpu") if has_tpu else ("an NVIDIA GPU", "cuda")
    forced = os.environ.get("JAX_PLATFORMS", "")
    if forced:
        remedy = f"unset JAX_PLATFORMS, which is {forced!r}, to use it"
        return Finding("devices", WARNING, f"{text}, although there is {name}", remedy, dict(probe))
    why = next((reason for kind, reason in unavailable.items() if kind in ("tpu", "cuda")), "")
    because = f": {why}" if why else ""
    remedy = _remedy(why) if "already in use" in why else _INSTALL.format(extra=extra)
    return Finding("devices", PROBLEM, f"{text}, although there is {name}{because}", remedy,
                   dict(probe))  # fmt: skip


def _memory(probe: Probe) -> Finding | None:
    """Return the finding about the memory of the devices; None if they do not state it."""
    stated = [one for one in probe["memory"] if one["limit"]]
    if not stated:
        return None
    limit, used = min(one["limit"] for one in stated), max(one["used"] or 0 for one in stated)
    text = f"{limit / GIB:.1f} GiB for JAX on each device"
    others = [(int(used), int(total)) for used, total in _of_all_processes()]
    if any(used > _USED * total for used, total in others):
        most = max(used for used, _ in others)
        remedy = "nvidia-smi lists the processes; stop those that you do not need"
        return Finding("device memory", WARNING,
                       f"{text}, but other processes use {most / 1024:.1f} GiB", remedy,
                       {"limit": limit, "used": used})  # fmt: skip
    return Finding("device memory", OK, text, "", {"limit": limit, "used": used})


def _speed(probe: Probe) -> Finding:
    """Return the finding about the speed of a matrix product."""
    matmul, peak = probe.get("matmul"), probe["peak"]
    if matmul is None:
        return Finding("matmul", SKIPPED, "--seconds=0")
    width, flops = matmul["width"], matmul["flops"]
    text = f"{flops / 1e12:,.3g} TFLOP/s in {matmul['dtype']}, matrices of {width} x {width}"
    figures = {**matmul, "peak": peak}
    if peak is None:
        about = "a CPU" if probe["platform"] == "cpu" else probe["kind"]
        return Finding("matmul", OK, f"{text}; no peak is known for {about}", "", figures)
    text += f", {flops / peak:.0%} of the published peak of {peak / 1e12:,.0f} TFLOP/s"
    if flops >= _SLOW * peak:
        return Finding("matmul", OK, text, "", figures)
    remedy = (
        "see whether another process uses the device, and whether it is throttled (nvidia-smi -q "
        "-d PERFORMANCE, TEMPERATURE for a GPU)"
    )
    return Finding("matmul", WARNING, text, remedy, figures)


def _driver() -> Iterator[Finding]:
    """Yield the finding about the NVIDIA driver and the CUDA packages."""
    version = _driver_version()
    plugins = {name: version_of(name) for name in _DRIVERS}
    present = {name: found for name, found in plugins.items() if found != "not installed"}
    figures = {"driver": version, **present}
    shown = f"driver {version or 'unknown'}"
    shown += "".join(f", {name} {found}" for name, found in present.items())
    if not present:
        remedy = _INSTALL.format(extra="cuda")
        yield Finding("CUDA", PROBLEM, f"{shown}; JAX's CUDA packages are not installed", remedy,
                      figures)  # fmt: skip
        return
    major = int(version.partition(".")[0]) if version and version[0].isdigit() else None
    needed = max(_DRIVERS[name] for name in present)
    if major is not None and major < needed:
        remedy = f"update the driver to {needed} or later"
        remedy += ", or install jax[cuda12]" if needed == 580 and major >= 525 else ""
        yield Finding("CUDA", PROBLEM, f"{shown}, which needs driver {needed}", remedy, figures)
    else:
        yield Finding("CUDA", OK, shown, "", figures)


def _driver_version() -> str:
    """Return the version of the NVIDIA driver; empty if nothing states it."""
    if answered := _nvidia_smi("driver_version"):
        return answered[0][0]
    text = _DRIVER.read_text(errors="replace") if _DRIVER.exists() else ""
    match = re.search(r"Kernel Module.*?(\d+\.\d+(?:\.\d+)?)", text)
    return match[1] if match else ""


def _of_all_processes() -> list[tuple[str, str]]:
    """Return used and total MiB of each NVIDIA GPU, of all processes together."""
    answered = _nvidia_smi("memory.used,memory.total")
    return [(row[0], row[1]) for row in answered if len(row) == 2 and "".join(row).isdigit()]


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
    if done.returncode != 0:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line]
