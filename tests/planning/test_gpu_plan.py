"""Plans for GPUs."""

import json
import re

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import (
    AnnotateConfig,
    PlanOptions,
    SamplingConfig,
    TeachersConfig,
)
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import (
    calibration,
    gpu_plan,
    gpus,
    plan,
    slice_estimate,
)
from teacherlm_jax.runs import run_folder

_FILE = """
from teacherlm_jax import config
from teacherlm_jax.models import registry

def get_config(variant):
    if variant == "annotate":
        return config.AnnotateConfig(
            output={output!r}, slots=32, attention="blockwise", prompt_length=512,
            source=config.SourceConfig("a", "a"), teachers=config.TeachersConfig(cot="nowhere"))
    model = registry.shape("bloom-560m", attention="blockwise", remat="full")
    return config.TrainConfig(output={output!r}, data="nowhere", model=model, batch_size=64,
                              accumulate=4, steps=1000)
"""


@pytest.fixture
def command(tmp_path, capsys):
    """Function that runs `plan` with a config; returns status, output and the last error line."""
    path = tmp_path / "mine.py"
    path.write_text(_FILE.format(output=str(tmp_path / "run")), encoding="utf-8")

    def call(*words, variant=""):
        status = main.main(["plan", f"--config={path}:{variant}", *words])
        shown = capsys.readouterr()
        return status, shown.out + shown.err, shown.err.strip().rpartition("\n")[2]

    return call


def saved(tmp_path, name):
    return json.loads((tmp_path / "run.plan" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_training_is_planned_by_component_with_hours_and_gpu_hours(command, tmp_path):
    status, text, _ = command("--topology=gpu:a100x2", "--config.mesh.fsdp=2")
    assert status == 0
    figures = saved(tmp_path, "gpu-a100x2")
    parts, (step,) = figures["memory_parts"], figures["programs"]
    assert sum(parts.values()) == step["memory"]
    for name in ("parameters", "optimizer", "gradients", "saved activations", *parts):
        assert re.search(rf"(?m)^  {re.escape(name)} +[\d.]+ [GM]iB$", text), name
    assert parts["parameters"] == pytest.approx(2 * figures["parameters"], rel=0.01)
    speed = figures["speed"]
    seconds = step["expected"]["seconds"]
    assert speed["step_seconds"] == seconds > step["roofline"]["seconds"]
    assert step["expected"]["mfu"] < step["mfu_bound"]
    assert speed["hours"] == pytest.approx(1000 * seconds / 3600)
    assert speed["chip_hours"] == pytest.approx(2 * speed["hours"])
    assert f"{speed['hours']:,.1f} hours, {speed['chip_hours']:,.1f} GPU-hours" in text
    assert "nothing was compiled or run" in text
    assert "\nnot calibrated: " in text and "\nexpected, not calibrated\n" in text
    assert "along fsdp" in text and "along tensor" not in text
    assert (tmp_path / "run.plan/gpu-a100x2.txt").read_text("utf-8") in text


def test_an_annotation_is_planned_with_the_hours_of_its_rows(command, tmp_path):
    words = ("--model=bloom-560m", "--rows=1000000", "--config.weights=int8")
    status, text, _ = command("--topology=gpu:4090", *words, variant="annotate")
    assert status == 0
    figures = saved(tmp_path, "gpu-4090")
    assert {"parameters", "KV cache"} < set(figures["memory_parts"])
    speed = figures["speed"]
    prefill, decode = (program["expected"]["seconds"] for program in figures["programs"])
    per_text = prefill / 2 + 70 * decode / (16 * 32)
    assert speed["hours"] == pytest.approx(1_000_000 * per_text / 3600)
    assert re.search(r"1,000,000 rows +[\d.]+ hours, [\d.]+ GPU-hours", text)
    assert "int8 weights are multiplied in bfloat16, at a peak of 165 TFLOP/s, not the 661" in text


def test_a_calibration_replaces_the_assumed_speed(command, tmp_path):
    device = {"kind": "NVIDIA A100-SXM4-80GB"}
    parts = {"decode": {"cases": [{"name": "a", "roofline_share": 0.3}]}}
    content = {"device": device, "tiny": False, "commit": "abc", "parts": parts}
    (tmp_path / "gpu.json").write_text(json.dumps(content))
    words = ("--topology=gpu:a100", "--model=bloom-560m")
    command(*words, variant="annotate")
    assumed = saved(tmp_path, "gpu-a100")
    _, text, _ = command(*words, f"--calibration={tmp_path}/gpu.json", variant="annotate")
    measured = saved(tmp_path, "gpu-a100")
    decodes = (plan["programs"][1]["expected"] for plan in (measured, assumed))
    first, second = (expected["seconds"] for expected in decodes)
    assert first == 2 * second
    assert "\nexpected, calibrated\n" in text and "not calibrated" not in text


@pytest.mark.parametrize(
    ("words", "variant"),
    [
        (("--topology=gpu:4090", "--config.accumulate=1"), ""),
        (("--topology=gpu:4090", "--config.accumulate=1", "--config.model.remat=none"), ""),
        (("--topology=gpu:4090", "--config.slots=256", "--model=bloom-560m"), "annotate"),
        (
            ("--topology=gpu:4090", "--config.slots=8", "--model=opt-13b", "--length=256"),
            "annotate",
        ),
    ],
)
def test_a_run_that_does_not_fit_fits_with_each_suggested_setting(command, words, variant):
    status, text, error = command(*words, variant=variant)
    assert status == 2 and ": does not fit" in text
    (suggested,) = re.findall(r"does not fit: needs [\d.]+ GiB of 21.7 GiB; try (.*)$", error)
    for change in suggested.split(" or "):
        keys = [
            f"--config.{'model.' if key.startswith(('remat', 'attention')) else ''}{key}"
            for key in change.split(", ")
        ]
        assert command(*words, *keys, variant=variant)[0] == 0, change


def test_more_gpus_are_suggested_if_no_setting_makes_a_model_fit(command):
    words = ("--config.model.layers=30", "--config.model.width=4096", "--config.model.heads=32")
    status, _, error = command("--topology=gpu:4090", *words)
    assert status == 2
    assert error.endswith(
        "no setting makes it fit; try --topology=gpu:4090x2; adapters fit (--config.lora.rank=16, "
        "with config.init_from)"
    )
    lora = ("--config.lora.rank=16", "--config.init_from=base", "--config.accumulate=64")
    assert command("--topology=gpu:4090", *words, *lora)[0] == 0
    _, _, error = command("--topology=gpu:4090x8", *words)
    assert error.endswith(
        "no setting makes it fit on this many GPUs; use a GPU with more memory (a100-40gb or a100 "
        "or h100 or h200), or a smaller model; adapters fit (--config.lora.rank=16, with "
        "config.init_from)"
    )
    _, _, error = command("--topology=gpu:h100x4", *words, "--config.mesh.data=4")
    assert error.endswith("try data=1, fsdp=4")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            ["--topology=gpu:h100x3"],
            r"config.batch_size=64: not divisible by 3, .*; choose a multiple of 12",
        ),
        (
            ["--topology=gpu:h100x3", "--config.batch_size=12", "--config.mesh.fsdp=3"],
            r"axis 'embed' of size 1024 is not divisible by 3",
        ),
        (["--topology=gpu:h100", "--config.model.attention=fused"], r"set .*=blockwise$"),
        (["--topology=gpu:h100", "--advise"], r"^teacherlm: --advise: compiles for TPU slices"),
        (["--topology=v5e:2x2", "--calibration=a.json"], r"works for GPUs only"),
        (["--topology=gpu:h100x2", "--config.mesh.data=3"], r"product of data=3, .* devices, 2"),
        (["--fits", "--topology=gpu:h100"], r"mine.py:: has no effect with --fits; leave it out$"),
    ],
)
def test_settings_that_do_not_work_on_gpus_are_refused(command, words, fault):
    status, _, error = command(*words)
    assert status == 2
    assert re.search(fault, error), error


@pytest.mark.parametrize(
    ("gib", "words"),
    [
        (50.0, "fits"),
        (57.0, "fits; close, the estimate may be 40% off"),
        (
            70.0,
            "fits with XLA_CLIENT_MEM_FRACTION=0.92; close, the estimate may be 40% off",
        ),
        (73.0, "does not fit; close, the estimate may be 40% off"),
        (107.0, "does not fit; close, the estimate may be 40% off"),
        (112.0, "does not fit"),
    ],
)
def test_the_verdict_names_the_share_of_the_memory_that_jax_must_take(gib, words):
    assert gpu_plan.verdict(gib * 2**30, gpus.parse("gpu:a100")) == words


@pytest.fixture
def annotation(tmp_path, monkeypatch):
    shape = registry.shape("bloom-tiny", attention="blockwise")
    monkeypatch.setattr(gpu_plan.annotation_programs, "_teacher", lambda *_: (shape, None, ()))
    return AnnotateConfig(
        output=str(tmp_path / "run"),
        slots=8,
        sampling=SamplingConfig(max_new_tokens=16),
        teachers=TeachersConfig(cot="teacher"),
    )


def test_a_dry_run_and_a_plan_give_the_same_hours(annotation, tmp_path):
    estimate = slice_estimate.estimate(annotation, "gpu:h100x2", 32, 1000)
    annotation.output = str(tmp_path / "plan")
    with run_folder.open_run(annotation.output, "plan", annotation) as folder:
        plan.plan(annotation, folder, PlanOptions("gpu:h100x2", length=32, rows=1000))
    figures = json.loads((tmp_path / "plan/gpu-h100x2.json").read_text(encoding="utf-8"))
    assert estimate.speed == figures["speed"]
    assert (estimate.basis, estimate.unit) == ("expected, not calibrated", "GPU")


def test_a_dry_run_says_why_there_are_no_hours(annotation):
    annotation.attention = "fused"
    estimate = slice_estimate.estimate(annotation, "gpu:h100", 32, 1000)
    assert estimate.speed is None and "set --config.attention=blockwise" in estimate.problem
    annotation.attention, annotation.slots = "", 2**24
    estimate = slice_estimate.estimate(annotation, "gpu:h100", 32, 1000)
    assert re.search(r"needs [\d.]+ GiB of 72.8 GiB per GPU; `teacherlm plan`", estimate.problem)


def test_no_program_is_compiled_for_gpus_that_are_not_there(annotation):
    run = gpu_plan.prepare(annotation, gpus.parse("gpu:h100x2"), 32, "")
    with pytest.raises(ValueError, match="has no devices to compile for"):
        run.programs()


def test_slots_that_the_gpus_do_not_divide_are_refused(annotation):
    annotation.slots, wanted = 7, gpus.parse("gpu:h100x2")
    run = gpu_plan.prepare(annotation, wanted, 32, "")
    with pytest.raises(UserError, match="config.slots=7: expected a positive multiple of 2"):
        gpu_plan.planned(run, wanted, calibration.ASSUMED)
