"""The benchmark on a GPU, in its form with tiny models on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_cases import Case, Measurements
from benchmarks.gpu_generation import cache_copies
from tests import xla_flags

ROOT = Path(__file__).parents[1]
FORBIDDEN = (
    *("grain", "seqio", "tensorflow", "ml_collections", "torch", "transformers", "datasets"),
    *("array_record", "sentencepiece", "tokenizers", "fsspec", "pandas", "pyarrow"),
)
WITHOUT_PACKAGES = f"""
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError("imported although a bare image does not have it: " + name)

sys.meta_path.insert(0, Refuse())
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("gpu") / "gpu.json"
    subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES, "--cpu", "--output", str(output)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": xla_flags.FAST, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    return json.loads(output.read_text(encoding="utf-8"))


def test_every_part_runs_without_packages_that_a_bare_image_lacks(result):
    assert list(result["parts"]) == list(gpu.PARTS)
    for part in result["parts"].values():
        assert part["cases"]
        assert not [case for case in part["cases"] if "skipped" in case or "failed" in case]


def test_every_case_has_the_figures_of_its_table(result):
    for name, part in result["parts"].items():
        for case in part["cases"]:
            assert {"name", "seconds", "peak_bytes", *gpu.PARTS[name].columns} <= set(case)
    assert "decode" in gpu.table(result)


def test_the_file_describes_device_versions_and_commit(result):
    assert result["device"] == {"kind": "cpu", "peak": None, "bandwidth": None}
    assert result["tiny"]
    assert {"machine", "commit", "seconds", "memory_bytes", "compilation_cache"} <= set(result)
    assert {"python", "jax", "flax", "optax"} <= set(result["versions"])


def test_decode_and_prefill_name_the_programs_that_were_compiled(result):
    decode, in_int8 = result["parts"]["decode"]["cases"]
    assert "decode with 4 slots and 64 entries" in decode["compile_seconds"]
    assert decode["roofline_bytes"] > 2 * 512 * 32  # the embedding alone, in bfloat16
    assert in_int8["weights"] == "int8"
    assert 512 * 32 < in_int8["roofline_bytes"] < 0.8 * decode["roofline_bytes"]


def test_a_case_that_fails_or_has_no_time_is_recorded_and_the_others_are_kept(tmp_path, capsys):
    output = tmp_path / "figures.json"

    def fail():
        kept = json.loads(output.read_text(encoding="utf-8"))["parts"]["decode"]["cases"]
        assert [case["tokens"] for case in kept] == [3]
        raise RuntimeError("RESOURCE_EXHAUSTED:\n 80 GiB")

    measurements = Measurements(output, {})
    cases = [Case("small", lambda: {"tokens": 3}), Case("large", fail)]
    measurements.run("decode", cases, until=1000)
    measurements.run("prefill", cases, until=0)
    parts = json.loads(output.read_text(encoding="utf-8"))["parts"]
    assert parts["decode"]["cases"][1]["failed"] == "out of memory: RESOURCE_EXHAUSTED: 80 GiB"
    assert [case["skipped"] for case in parts["prefill"]["cases"]] == [
        "0 s are left, a case takes 0 s",
        "0 s are left, a case takes 0 s",
    ]
    assert measurements.failures == 1
    assert not measurements.complete("decode")
    assert [case["name"] for case in measurements.cases("decode")] == ["small"]
    assert "prefill: small: skipped: 0 s are left" in capsys.readouterr().out


def figures(tmp_path, share, mfu, copies):
    measurements = Measurements(tmp_path / "figures.json", {})
    one = {"model": "bloom-1b1", "mfu": mfu, "roofline_share": share, "copies": copies}
    for part in ("train_step", "decode", "copies"):
        measurements.run(part, [Case("one", lambda: one)], until=1000)
    return measurements


@pytest.mark.parametrize(
    ("share", "mfu", "copies", "status"),
    [(0.7, 0.5, 0, 0), (0.69, 0.5, 0, 1), (0.7, 0.49, 0, 1), (0.7, 0.5, 2, 1), (None, 0.5, 0, 1)],
)
def test_the_goals_decide_the_exit_status(tmp_path, share, mfu, copies, status):
    assert gpu._goals(figures(tmp_path, share, mfu, copies)) == status


def test_a_goal_with_a_skipped_case_is_unmet(tmp_path, capsys):
    measurements = figures(tmp_path, 0.9, 0.9, 0)
    measurements.result["parts"]["decode"]["cases"].append({"name": "two", "skipped": "no time"})
    assert gpu._goals(measurements) == 1
    assert "gpu_decode: 90.0% (one) to 90.0% (one) of the roofline in 1 cases" in (
        capsys.readouterr().out
    )


def test_copies_of_the_cache_are_counted_in_optimized_programs():
    text = """
  %copy.1 = bf16[24,64,256,1024]{3,2,1,0} copy(%p), metadata={op_name="a"}
  ROOT %copy.2 = bf16[24,64,256,1024]{3,1,2,0} copy(%copy.1)
  %begin = (bf16[24,64,256,1024]{3,2,1,0}, bf16[24,64,256,1024]{3,2,1,0}, u32[]) copy-start(%p)
  %end = bf16[24,64,256,1024]{3,2,1,0} copy-done(%begin)
  %other = bf16[24,64,256,512]{3,2,1,0} copy(%q)
  %update = bf16[24,64,256,1024]{3,2,1,0} dynamic-update-slice(%p, %q)
"""
    assert cache_copies(text, (24, 64, 256, 1024)) == 3
