"""Findings about devices: what JAX opens beside what the machine has."""

import json
import os
import stat
import subprocess
import sys

import pytest

from teacherlm_jax.config import DoctorOptions
from teacherlm_jax.doctor import devices, probe
from teacherlm_jax.doctor import nvidia as nvidia_gpus
from tests.doctor.test_examine import PROBE

GPU = {
    "platform": "gpu",
    "kind": "NVIDIA H100 80GB HBM3",
    "local": 2,
    "all": 2,
    "memory": [{"limit": 60 * 2**30, "used": 0}] * 2,
    "peak": 989e12,
}


@pytest.fixture
def found(monkeypatch, tmp_path):
    """A function that returns the findings by name, given the probe and what the machine has."""
    for name in ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES", "MEGASCALE_NUM_SLICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)

    def of(probe, nvidia=False, tpu=False):
        monkeypatch.setattr(nvidia_gpus, "_GPUS", (tmp_path,) if nvidia else ())
        monkeypatch.setattr(nvidia_gpus, "_DRIVER", tmp_path / "missing")
        monkeypatch.setattr(devices, "_has_tpu", lambda: tpu)
        monkeypatch.setattr(devices, "_probe", lambda seconds: probe)
        return {finding.name: finding for finding in devices.examine(1.0)}

    return of


def matmul(flops):
    return {"flops": flops, "width": 8192, "dtype": "bfloat16", "compile_seconds": 1.0}


def test_a_gpu_at_its_speed_is_well(found):
    findings = found(PROBE | GPU | {"matmul": matmul(700e12)})
    assert findings["devices"].verdict == "ok"
    assert findings["devices"].text == "2 x NVIDIA H100 80GB HBM3 (gpu)"
    assert findings["device memory"].text == "60.0 GiB for JAX on each device"
    assert findings["matmul"].verdict == "ok"
    assert "700 TFLOP/s in bfloat16" in findings["matmul"].text
    assert "71% of the published peak of 989 TFLOP/s" in findings["matmul"].text


def test_a_slow_device_is_a_warning(found):
    finding = found(PROBE | GPU | {"matmul": matmul(100e12)})["matmul"]
    assert finding.verdict == "warning" and "throttled" in finding.remedy


def test_no_matrix_product_is_skipped(found):
    probe = {key: value for key, value in PROBE.items() if key != "matmul"}
    assert found(probe)["matmul"].verdict == "skipped"


@pytest.mark.parametrize(
    ("machine", "unavailable", "remedy"),
    [
        ({"nvidia": True}, {}, "pip install -r requirements-cuda.txt"),
        ({"tpu": True}, {}, "pip install -r requirements-tpu.txt"),
        ({"tpu": True}, {"tpu": "ABORTED: already in use by process 7"}, "stop other processes"),
    ],
)
def test_devices_that_jax_does_not_open_are_a_problem(found, machine, unavailable, remedy):
    finding = found(PROBE | {"unavailable": unavailable}, **machine)["devices"]
    assert finding.verdict == "problem" and remedy in finding.remedy
    assert all(reason in finding.text for reason in unavailable.values())


def test_devices_that_the_user_left_out_are_a_warning(found, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    finding = found(PROBE, tpu=True)["devices"]
    assert finding.verdict == "warning" and "unset JAX_PLATFORMS" in finding.remedy


def test_one_of_several_hosts_does_not_open_its_devices(found, monkeypatch):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    finding = found(None)["devices"]  # the probe must not be asked
    assert finding.verdict == "skipped" and "lists 2 hosts" in finding.text


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that makes an `nvidia-smi` that answers a query."""

    def answering(**answers):
        lines = "".join(f'*{query}*) echo "{text}";;\n' for query, text in answers.items())
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\ncase "$1" in\n{lines}*) exit 9;;\nesac\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return answering


@pytest.mark.parametrize(
    ("plugin", "driver", "verdict", "said"),
    [
        ("jax-cuda13-plugin", "580.65.06", "ok", "driver 580.65.06"),
        ("jax-cuda13-plugin", "550.54.15", "problem", "or install jax[cuda12]"),
        ("jax-cuda12-plugin", "550.54.15", "ok", "driver 550.54.15"),
        ("jax-cuda12-plugin", "470.1", "problem", "update the driver to 525"),
        ("", "580.65.06", "problem", "CUDA packages are not installed"),
        ("jax-cuda13-plugin", "", "ok", "driver unknown"),
    ],
)
def test_the_driver_has_to_be_new_enough(
    found, nvidia_smi, monkeypatch, plugin, driver, verdict, said
):
    nvidia_smi(**({"driver_version": driver} if driver else {}))
    versions = {plugin: "0.10.2"}
    monkeypatch.setattr(nvidia_gpus, "version_of", lambda name: versions.get(name, "not installed"))
    finding = found(PROBE | GPU | {"matmul": matmul(7e14)}, nvidia=True)["CUDA"]
    assert finding.verdict == verdict and said in f"{finding.text} {finding.remedy}"


def test_memory_that_others_use_is_a_warning(found, nvidia_smi, monkeypatch):
    nvidia_smi(memory="41000, 81559", driver_version="580.1")
    finding = found(PROBE | GPU | {"matmul": matmul(7e14)}, nvidia=True)["device memory"]
    assert finding.verdict == "warning" and "other processes use 40.0 GiB" in finding.text


def test_the_probe_describes_the_devices_and_their_speed():
    done = subprocess.run(
        [sys.executable, "-m", "teacherlm_jax.doctor.probe", "0.2"],
        env={**os.environ, "XLA_FLAGS": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["platform"] == "cpu" and said["local"] == 1 and said["peak"] is None
    assert said["matmul"]["flops"] > 0 and said["matmul"]["dtype"] == "float32"


# What `Device.memory_stats()` returned on real devices: jax-ml/jax#1491 (a TPU v4), and an H100.
STATS = {
    "tpu": {
        "bytes_in_use": 12288, "bytes_limit": 33014415360, "bytes_reservable_limit": 33014415360,
        "bytes_reserved": 0, "largest_alloc_size": 12288, "largest_free_block_bytes": 33014403072,
        "num_allocs": 1, "peak_bytes_in_use": 12288, "peak_bytes_reserved": 0,
    },
    "gpu": {
        "num_allocs": 222, "bytes_in_use": 3897557504, "peak_bytes_in_use": 32087482368,
        "largest_alloc_size": 25232940032, "bytes_limit": 35714334720, "bytes_reserved": 0,
        "peak_bytes_reserved": 0, "largest_free_block_bytes": 0, "pool_bytes": 35714334720,
        "peak_pool_bytes": 35714334720,
    },
    "cpu": None,
}  # fmt: skip


class Device:
    """A device as JAX describes it."""

    def __init__(self, platform, device_kind):
        self.platform, self.device_kind = platform, device_kind

    def memory_stats(self):
        return STATS[self.platform]


@pytest.mark.parametrize(
    ("platform", "asked", "seconds"),
    [("gpu", None, 10), ("tpu", None, 10), ("cpu", None, 5), ("cpu", 2, 2), ("gpu", 2, 2)],
)
def test_matrices_are_multiplied_for_ten_seconds_or_for_five_on_a_cpu(
    monkeypatch, platform, asked, seconds
):
    took = []
    monkeypatch.setattr(probe.jax, "local_devices", lambda: [Device(platform, "any")])
    monkeypatch.setattr(probe, "_multiply", lambda device, seconds: took.append(seconds))
    probe.main(DoctorOptions().seconds if asked is None else asked)
    assert took == [seconds]


@pytest.mark.parametrize(
    ("platform", "kind", "memory", "peak"),
    [
        ("tpu", "TPU v4", {"limit": 33014415360, "used": 12288}, 275e12),
        ("tpu", "TPU v5 lite", {"limit": 33014415360, "used": 12288}, 197e12),
        ("gpu", "NVIDIA H100 80GB HBM3", {"limit": 35714334720, "used": 3897557504}, 989e12),
        ("gpu", "NVIDIA A100-SXM4-40GB", {"limit": 35714334720, "used": 3897557504}, 312e12),
        ("cpu", "cpu", {"limit": None, "used": None}, None),
    ],
)
def test_the_probe_reads_what_jax_says_about_devices(
    found, monkeypatch, capsys, platform, kind, memory, peak
):
    monkeypatch.setattr(probe.jax, "local_devices", lambda: [Device(platform, kind)] * 4)
    monkeypatch.setattr(probe.jax, "device_count", lambda: 8)
    probe.main(0)
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "platform": platform, "kind": kind, "local": 4, "all": 8, "memory": [memory] * 4,
        "unavailable": {}, "peak": peak,
    }  # fmt: skip
    assert said.keys() == PROBE.keys() - {"matmul"} and GPU.keys() <= PROBE.keys()
    findings = found(said)
    assert findings["devices"].verdict == "ok" and "of 8 in all" in findings["devices"].text
    assert ("device memory" in findings) == (platform != "cpu")


def test_reasons_are_read_from_what_jax_logs():
    """JAX itself makes the record, for a device that cannot be opened."""
    code = (
        "import jax, logging; from jax._src import xla_bridge\n"
        "from teacherlm_jax.doctor import probe\n"
        "def fail(): raise RuntimeError('already in use\\nby process 7')\n"
        "xla_bridge.register_backend_factory('tpu', fail, priority=900, fail_quietly=True)\n"
        "probe.main(0)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "JAX_PLATFORMS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    unavailable = json.loads(done.stdout)["unavailable"]  # newer JAX tries others, too
    assert unavailable["tpu"] == "already in use by process 7"


@pytest.mark.parametrize(
    ("files", "vendors", "has"),
    [
        (("accel0",), ("0x8086", "0x1ae0"), True),
        (("vfio/3",), ("0x1ae0",), True),
        (("vfio/3",), ("0x10de",), False),  # another device of a virtual machine
        (("vfio/vfio",), ("0x1ae0",), False),  # the network card of a virtual machine
        ((), ("0x1ae0",), False),
    ],
)
def test_a_tpu_is_a_device_file_and_a_device_of_its_vendor(
    monkeypatch, tmp_path, files, vendors, has
):
    for number, vendor in enumerate(vendors):
        (tmp_path / f"pci/{number}").mkdir(parents=True)
        (tmp_path / f"pci/{number}/vendor").write_text(f"{vendor}\n")
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    patterns = [pattern.replace("/dev", str(tmp_path)) for pattern in devices._TPUS]
    monkeypatch.setattr(devices, "_TPUS", patterns)
    monkeypatch.setattr(devices, "_VENDORS", f"{tmp_path}/pci/*/vendor")
    assert devices._has_tpu() is has


@pytest.mark.parametrize(
    ("program", "said", "remedy"),
    [
        ("exit('libtpu: no such file within it')", "cannot open the devices: libtpu", "set JAX_"),
        ("exit('the TPU is already in use')", "cannot open the devices: the TPU", "stop other"),
        ("exit('No module named jax')", "cannot open the devices: No module", "run pip install"),
        ("import os; os.kill(os.getpid(), 6)", "devices: exit status -6", "set JAX_PLATFORMS=cpu"),
        ("import time; time.sleep(60)", "did not open the devices within 1 s", "stop other"),
    ],
)
def test_a_probe_that_fails_or_hangs_is_a_finding(monkeypatch, tmp_path, program, said, remedy):
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(devices.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(devices, "_OPEN_SECONDS", 0.5)
    failed = devices._probe(0.5)
    assert isinstance(failed, devices.NoProbe) and said in failed.reason
    assert failed.remedy.startswith(remedy)
