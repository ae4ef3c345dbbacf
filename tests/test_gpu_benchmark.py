"""The benchmark on a GPU, in its form with tiny models on a CPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_authors_way
from benchmarks.gpu_cases import Case, Measurements, NotMeasured
from benchmarks.gpu_generation import cache_copies
from tests import xla_flags

ROOT = Path(__file__).parents[1]
FORBIDDEN = (
    *("grain", "seqio", "tensorflow", "ml_collections", "torch", "transformers", "datasets"),
    *("array_record", "sentencepiece", "tokenizers", "fsspec", "pandas", "pyarrow"),
)
WITHOUT_PACKAGES = f"""
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run_tiny(tmp_path_factory.mktemp("gpu") / "gpu.json", "-c", WITHOUT_PACKAGES)


def run_tiny(output, *program):
    """Return the figures of a run with tiny models."""
    subprocess.run(
        [sys.executable, *program, "--cpu", "--output", str(output)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": xla_flags.FAST, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    return json.loads(output.read_text(encoding="utf-8"))


def test_every_part_runs_without_packages_that_a_bare_image_lacks(result):
    assert list(result["parts"]) == list(gpu.PARTS)
    for name, part in result["parts"].items():
        assert part["cases"]
        skipped = [case["skipped"] for case in part["cases"] if "skipped" in case]
        lacking = ["torch and transformers are not installed"]
        assert skipped == (lacking if name == "authors_way" else [])
        assert not [case for case in part["cases"] if "failed" in case]
    assert "| skipped: torch and transformers are not installed |" in gpu.table(result)


def test_every_case_has_the_figures_of_its_table(result):
    parts = {name: part for name, part in result["parts"].items() if name != "authors_way"}
    for name, part in parts.items():
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


def test_the_engine_is_compared_with_transformers_where_torch_is_installed(tmp_path):
    pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
    result = run_tiny(tmp_path / "gpu.json", "-m", "benchmarks.gpu", "--parts", "authors_way")
    (case,) = result["parts"]["authors_way"]["cases"]
    assert {"name", "seconds", *gpu.PARTS["authors_way"].columns} <= set(case)
    assert case["texts"] == 12
    assert 1 <= case["transformers_texts"] <= 6  # as many as the time was enough for
    ratio = case["tokens_per_second"] / case["transformers_tokens_per_second"]
    assert case["times_as_fast"] == pytest.approx(ratio)
    assert f"| {ratio:.1f} " in gpu.table(result)


def test_without_a_gpu_for_torch_the_engine_is_not_compared(monkeypatch):
    pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(gpu_authors_way, "_CHILD_SECONDS", 600)  # importing torch may take long
    with pytest.raises(NotMeasured, match=r"torch \S+ finds no GPU"):
        gpu_authors_way.one_at_a_time("bloom-tiny", "cuda")


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        ({"torch"}, "transformers is not installed"),
        ({"transformers"}, "torch is not installed"),
        (set(), "torch and transformers are not installed"),
        ({"torch", "transformers"}, ""),
    ],
)
def test_packages_that_the_comparison_lacks_are_named(monkeypatch, installed, reason):
    found = {name: object() for name in installed}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    assert gpu_authors_way.missing() == reason


def child_that(monkeypatch, code):
    """Let the child process run this code in place of transformers."""
    run = subprocess.run
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **options: run([sys.executable, "-c", code], **options),
    )
    monkeypatch.setattr(gpu_authors_way, "missing", lambda: "")


def failure_of_authors_way(folder, monkeypatch):
    """Return the recorded reason for which the case failed, with a limit of time as on a GPU."""
    compare = gpu_authors_way.one_at_a_time
    monkeypatch.setattr(gpu_authors_way, "one_at_a_time", lambda name, _: compare(name, "cuda"))
    measurements = Measurements(folder / "figures.json", {})
    measurements.run("authors_way", gpu_authors_way.authors_way(None, tiny=True), until=1000)
    (case,) = measurements.result["parts"]["authors_way"]["cases"]
    assert measurements.failures == 1
    return case["failed"]


@pytest.mark.parametrize(
    ("fraction", "advice"),
    [
        ("0.92", "; to leave it more memory, run this part alone: --parts authors_way"),
        ("", ""),  # it runs alone
    ],
)
def test_a_failure_of_transformers_is_recorded_with_its_reason(
    tmp_path, monkeypatch, fraction, advice
):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    if fraction:
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", fraction)
    child_that(monkeypatch, "raise RuntimeError('CUDA out of memory. Tried to allocate 1 GiB')")
    assert failure_of_authors_way(tmp_path, monkeypatch) == (
        "RuntimeError: transformers: RuntimeError: CUDA out of memory. Tried to allocate 1 GiB"
        f"{advice}"
    )


def test_transformers_that_take_too_long_are_stopped(tmp_path, monkeypatch):
    child_that(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(gpu_authors_way, "_CHILD_SECONDS", 0.1)
    failed = failure_of_authors_way(tmp_path, monkeypatch)
    assert failed == "RuntimeError: transformers: stopped after 0.1 s"


def test_a_case_that_needs_more_time_than_is_left_is_skipped(tmp_path):
    measurements = Measurements(tmp_path / "figures.json", {})
    measurements.run("loss", [Case("slow", dict, least=50), Case("fast", dict)], until=40)
    slow, fast = measurements.result["parts"]["loss"]["cases"]
    assert slow["skipped"] == "40 s are left, a case takes 50 s"
    assert "skipped" not in fast


def figures(tmp_path, share, mfu, copies, times=40):
    measurements = Measurements(tmp_path / "figures.json", {})
    one = {"model": "bloom-1b1", "mfu": mfu, "roofline_share": share, "copies": copies}
    one["times_as_fast"] = times
    for part in ("train_step", "decode", "copies", "authors_way"):
        measurements.run(part, [Case("one", lambda: one)], until=1000)
    return measurements


@pytest.mark.parametrize(
    ("share", "mfu", "copies", "times", "status"),
    [
        (0.7, 0.5, 0, 40, 0),
        (0.69, 0.5, 0, 40, 1),
        (0.7, 0.49, 0, 40, 1),
        (0.7, 0.5, 2, 40, 1),
        (None, 0.5, 0, 40, 1),
        (0.7, 0.5, 0, 39.9, 1),
    ],
)
def test_the_goals_decide_the_exit_status(tmp_path, share, mfu, copies, times, status):
    assert gpu._goals(figures(tmp_path, share, mfu, copies, times)) == status


def lacking():
    raise NotMeasured("torch is not installed")


def test_the_goal_of_a_comparison_that_was_not_measured_is_unmet(tmp_path, capsys):
    measurements = figures(tmp_path, 0.9, 0.9, 0)
    measurements.run("authors_way", [Case("one", lacking)], until=1000)
    assert measurements.failures == 0
    assert gpu._goals(measurements) == 1
    line = "gpu_authors_way: not measured: torch is not installed (goal 40 times): unmet\n"
    assert line in capsys.readouterr().out


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
