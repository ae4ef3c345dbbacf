"""Efficiency of GPUs: assumed, or read from the file of a benchmark."""

import json

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import calibration, gpus
from teacherlm_jax.planning.analytic_counts import step_flops
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.training.flops import model_flops

H100 = gpus.GPUS["h100"]
STEP = {
    "model": "bloom-1b1",
    "rows": 8,
    "length": 2048,
    "text": 512,
    "layers": 24,
    "attention": "blockwise",
    "remat": "none",
    "step_seconds": 0.25,
}


def result(**changes):
    parts = {
        "train_step": {
            "cases": [
                {"name": "a", **STEP},
                {"name": "b", "skipped": "no time"},
                {"name": "c", **STEP, "step_seconds": 0.5},
                {"name": "d", **STEP, "step_seconds": 0.2},
            ]
        },
        "decode": {"cases": [{"name": "a", "roofline_share": 0.55}, {"failed": "memory"}]},
    }
    device = {"kind": "NVIDIA H100 80GB HBM3", "peak": 989e12}
    return {"device": device, "tiny": False, "commit": "0123456789", "parts": parts, **changes}


@pytest.fixture
def load(tmp_path):
    def call(content):
        path = tmp_path / "gpu.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return calibration.load(str(path), H100)

    return call


def test_without_a_file_the_shares_are_assumed_and_say_so():
    assumed = calibration.load("", H100)
    assert not assumed.calibrated
    assert assumed.source.startswith("not calibrated: ")


def test_the_median_of_the_measured_cases_replaces_the_assumed_shares(load):
    measured = load(result())
    model = registry.shape("bloom-1b1", attention="blockwise", remat="none")
    executed = step_flops(model, 8 * 2048, 512)
    assert executed > model_flops(model, 8 * 2048, 512)
    assert measured.training == pytest.approx(executed / 0.25 / 989e12)
    assert 0.3 < measured.training < 0.8
    assert measured.memory == 0.55
    assert (measured.prefill, measured.links) == (0.40, 0.70)
    assert measured.calibrated
    assert measured.source == (
        "calibrated on NVIDIA H100 80GB HBM3 at commit 0123456; prefill and links assumed"
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (result(tiny=True), "was measured with tiny models on a CPU; expected .* NVIDIA H100"),
        (
            result(device={"kind": "NVIDIA A100-SXM4-80GB"}),
            "was measured on NVIDIA A100-SXM4-80GB; expected figures of NVIDIA H100",
        ),
        (result(device={"kind": "NVIDIA H100 PCIe"}), "was measured on NVIDIA H100 PCIe"),
        (result(parts={}), "has no measured case of train_step, prefill or decode; run"),
        (
            result(parts={"train_step": {"cases": [{"model": "bloom-1b1"}]}}),
            "a case has no 'layers'; expected the JSON of `make bench-gpu` of this version",
        ),
        ([], "expected the JSON of `make bench-gpu`"),
        ({"parts": 1}, "expected the JSON of `make bench-gpu`"),
        ("{", "not JSON"),
    ],
)
def test_a_file_of_something_else_is_refused(load, content, fault):
    with pytest.raises(UserError, match=fault):
        load(content)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere.json: no such file"):
        calibration.load(str(tmp_path / "nowhere.json"), H100)


def test_the_expected_time_is_the_longest_of_the_resources_at_their_shares():
    efficiency = calibration.Efficiency(0.5, 0.25, 0.8, 0.1, "")
    counts = Counts(flops=989e12, memory=3350e9, sent={("all-reduce", "data"): 450e9 / 100})
    assert efficiency.expected(counts, H100)["seconds"] == pytest.approx(2.0)
    assert efficiency.expected(counts, H100, prefill=True)["seconds"] == pytest.approx(4.0)
    reading = Counts(memory=8 * 3350e9)
    assert efficiency.expected(reading, H100)["seconds"] == pytest.approx(10.0)
    sending = Counts(sent={("all-reduce", "data"): 450e9})
    assert efficiency.expected(sending, H100)["seconds"] == pytest.approx(10.0)
