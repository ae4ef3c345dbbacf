"""Accelerators: those that the machine has, those that JAX opens, their memory and speed."""

import dataclasses
import glob
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from teacherlm_jax.doctor import nvidia
from teacherlm_jax.doctor.finding import OK, PROBLEM, SKIPPED, WARNING, Finding
from teacherlm_jax.errors import one_line
from teacherlm_jax.runs import companions
from teacherlm_jax.wording import GIB

_OPEN_SECONDS = 120  # timeout for opening the devices and compiling
_TPUS = ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")  # device files; the second kind is of others, too
_VENDORS, _GOOGLE = "/sys/bus/pci/devices/*/vendor", "0x1ae0"
_SLOW = 0.5  # share of the peak below which a device is not free or not healthy
_USED = 0.1  # share of the memory that others may use
_FREE = (
    "stop other processes that use the devices (fuser -v /dev/accel* /dev/vfio/* /dev/nvidia*), "
    "then try again; or set JAX_PLATFORMS=cpu to work without them"
)

Probe = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class NoProbe:
    """The reason why the devices could not be examined, and what to do."""

    reason: str
    remedy: str


def examine(seconds: float) -> Iterator[Finding]:
    """Yield the findings about devices; the first one computes for `seconds`."""
    yield from nvidia.examine()
    if sign := companions.of_slice(os.environ):
        yield Finding("devices", SKIPPED, f"{sign}, and JAX would wait for the others")
        return
    probe = _probe(seconds)
    if isinstance(probe, NoProbe):
        yield Finding("devices", PROBLEM, probe.reason, probe.remedy)
        return
    yield _opened(probe, nvidia.has_gpu(), _has_tpu())
    if (memory := _memory(probe)) is not None:
        yield memory
    yield _speed(probe)


def _has_tpu() -> bool:
    """Return whether this machine has a TPU: a device file, and a device of its vendor."""
    vendors = (Path(path).read_text().strip() for path in glob.glob(_VENDORS))
    return any(map(glob.glob, _TPUS)) and _GOOGLE in vendors


def _probe(seconds: float) -> Probe | NoProbe:
    """Return what a process of its own finds; see `probe`."""
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-m", "teacherlm_jax.doctor.probe", f"{seconds:g}"]
    limit = seconds + _OPEN_SECONDS
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return NoProbe(f"JAX did not open the devices within {limit:.0f} s", _FREE)
    try:
        return json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        why = one_line(last[0])[:300] if last else f"exit status {done.returncode}"
        return NoProbe(f"JAX cannot open the devices: {why}", _remedy(why))


def _remedy(reason: str) -> str:
    """Return what to do about a message of JAX."""
    if "already in use" in reason:
        return _FREE
    if "No module named" in reason:
        return "run pip install -r requirements.txt in the clone"
    return "set JAX_PLATFORMS=cpu to work without them, or install JAX for them again"


def _opened(probe: Probe, has_nvidia: bool, has_tpu: bool) -> Finding:
    """Return the finding about the devices that JAX opened."""
    platform, unavailable = probe["platform"], probe["unavailable"]
    several = f"{probe['local']} x " if probe["local"] > 1 else ""
    others = f", of {probe['all']} in all" if probe["all"] > probe["local"] else ""
    kind = "CPU" if platform == "cpu" else f"{probe['kind']} ({platform})"
    text, figures = f"{several}{kind}{others}", dict(probe)
    if platform != "cpu" or not (has_nvidia or has_tpu):
        return Finding("devices", OK, text, "", figures)
    text += f", although the machine has {'a TPU' if has_tpu else 'an NVIDIA GPU'}"
    if forced := os.environ.get("JAX_PLATFORMS", ""):
        remedy = f"unset JAX_PLATFORMS, which is {forced!r}, to use it"
        return Finding("devices", WARNING, text, remedy, figures)
    why = unavailable.get("tpu" if has_tpu else "cuda", "")
    install = "run pip install -r requirements-tpu.txt in the clone" if has_tpu else nvidia.INSTALL
    remedy = _FREE if "already in use" in why else install
    return Finding("devices", PROBLEM, f"{text}: {why}" if why else text, remedy, figures)


def _memory(probe: Probe) -> Finding | None:
    """Return the finding about the memory of the devices; None if they do not state it."""
    stated = [one for one in probe["memory"] if one["limit"]]
    if not stated:
        return None
    limit, used = min(one["limit"] for one in stated), max(one["used"] or 0 for one in stated)
    text, figures = f"{limit / GIB:.1f} GiB for JAX on each device", {"limit": limit, "used": used}
    others = nvidia.used_memory()
    if any(used > _USED * total for used, total in others):
        text += f", but other processes use {max(used for used, _ in others) / 1024:.1f} GiB"
        remedy = "nvidia-smi lists the processes; stop those that you do not need"
        return Finding("device memory", WARNING, text, remedy, figures)
    return Finding("device memory", OK, text, "", figures)


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
