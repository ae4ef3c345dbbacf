"""Findings about devices: what JAX opens beside what the machine has."""

import json
import os
import stat
import subprocess
import sys

import pytest

from teacherlm_jax.doctor import devices
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

    def of(probe, reason="", nvidia=False, tpu=False):
        missing, there = tmp_path / "missing", tmp_path
        monkeypatch.setattr(devices, "_NVIDIA", there if nvidia else missing)
        monkeypatch.setattr(devices, "_DRIVER", missing)
        monkeypatch.setattr(devices, "_TPUS", (there,) if tpu else ())
        monkeypatch.setattr(devices, "_probe", lambda seconds: (probe, reason))
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
    finding = found(None, reason="must not be asked")["devices"]
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
    monkeypatch.setattr(devices, "version_of", lambda name: versions.get(name, "not installed"))
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
    probe = json.loads(done.stdout)
    assert probe["platform"] == "cpu" and probe["local"] == 1 and probe["peak"] is None
    assert 1e8 < probe["matmul"]["flops"] < 1e15 and probe["matmul"]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('libtpu: no such file')", "cannot open the devices: libtpu"),
        ("import os; os.kill(os.getpid(), 6)", "cannot open the devices: exit status -6"),
        ("import time; time.sleep(60)", "did not open the devices within 1 s"),
    ],
)
def test_a_probe_that_fails_or_hangs_is_a_finding(monkeypatch, tmp_path, program, said):
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(devices.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(devices, "_OPEN_SECONDS", 0.5)
    probe, reason = devices._probe(0.5)
    assert probe is None and said in reason
    assert devices._remedy(reason)
