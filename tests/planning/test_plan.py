"""Plans of small runs, compiled for absent TPU slices."""

import json
import re
import subprocess
import sys

import jax
import pytest

from benchmarks import topology
from teacherlm_jax.config import AnnotateConfig, MeshConfig, TeachersConfig, TrainConfig
from teacherlm_jax.config.options import PlanOptions
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import compiler
from teacherlm_jax.planning import plan as plan_verb
from teacherlm_jax.planning.plan import plan
from teacherlm_jax.runs import run_folder
from teacherlm_jax.training.flops import model_flops

# Plans runs in the folder of its argument, and prints the errors that a user would see.
_PLAN = r"""
import dataclasses, re, sys
import jax
from teacherlm_jax.runs import run_folder
from teacherlm_jax.config import (AnnotateConfig, MeshConfig, SamplingConfig, TeachersConfig,
                                  TrainConfig)
from teacherlm_jax.config.options import PlanOptions
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import annotation_programs, chips, compiler
from teacherlm_jax.planning.plan import plan

model = registry.shape("bloom-tiny", remat="full")
train = TrainConfig(output=sys.argv[1] + "/train", data="nowhere", model=model, batch_size=8,
                    mesh=MeshConfig(1, 2, 2), accumulate=2)
many = dataclasses.replace(train, output=sys.argv[1] + "/many", batch_size=2**20,
                           mesh=MeshConfig(), accumulate=1)
annotate = AnnotateConfig(output=sys.argv[1] + "/annotate", slots=8, attention="xla",
                          prompt_length=32, sampling=SamplingConfig(max_new_tokens=32),
                          mesh=MeshConfig(2, 1, 2), teachers=TeachersConfig(cot="nowhere"))

def refusal(config, topology, **options):
    with run_folder.open_run(config.output, "plan", config) as folder:
        try:
            plan(config, folder, PlanOptions(topology, **options))
        except UserError as error:
            return str(error)

assert refusal(train, "v5e:2x2", length=128) is None
assert refusal(annotate, "v5e:2x2", model="bloom-tiny", rows=1_000_000) is None
one_chip = dataclasses.replace(annotate, slots=64, prompt_length=512, mesh=MeshConfig())
narrow = annotation_programs.prepare(
    one_chip, compiler.devices(chips.parse("v5e:1x1")), 512, "bloom-560m")
narrow = dataclasses.replace(narrow, **annotation_programs.shapes(
    dataclasses.replace(narrow.model, layers=2, vocab_size=512), narrow.mesh))
decode = narrow.programs()[1].lowered.compile()
print("temporaries:", decode.memory_analysis().temp_size_in_bytes / narrow.cache)
error = refusal(many, "v5e:1x1", length=128)
print("error:", error)
error = refusal(train, "v5p:2x2x1535", length=128)
print("narrow:", error)
named = chips.parse(error.rpartition("--topology=")[2])
print("devices of its example:", len(compiler.devices(named)))
print("default backend:", jax.jit(lambda x: x + 1)(1), jax.default_backend())
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    environment = topology.environment("v5litepod-4")
    if environment is None:
        pytest.skip(f"no libtpu in {topology.FOLDER}; run make setup-test to install it")
    folder = tmp_path_factory.mktemp("plans")
    done = subprocess.run(
        [sys.executable, "-c", _PLAN, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


def saved(folder, name, tpu_slice):
    return json.loads((folder / name / f"{tpu_slice}.json").read_text(encoding="utf-8"))


def test_a_plan_is_printed_and_saved_with_every_figure(planned):
    folder, printed = planned
    figures = saved(folder, "train", "v5e-2x2")
    assert figures["mesh"] == {"data": 1, "fsdp": 2, "tensor": 2}
    (step,) = figures["programs"]
    assert step["fits"] and 0 < step["memory"] < step["memory_available"]
    # Float32 parameters and their two moments, sharded over four chips except norms and biases.
    parameters, optimizer = figures["held"]["parameters"], figures["held"]["optimizer"]
    assert parameters["total"] == 4 * figures["parameters"]
    assert parameters["total"] / 4 <= parameters["chip"] < parameters["total"] / 3
    assert 2 * parameters["chip"] <= optimizer["chip"] < 2 * parameters["chip"] + 100
    for line in ("training step", "peak memory", "maximum MFU", "roofline"):
        assert line in printed
    assert (folder / "train" / "v5e-2x2.txt").read_text(encoding="utf-8") in printed


def test_compiled_flops_are_model_flops_plus_rematerialization_and_masked_attention(planned):
    (step,) = saved(planned[0], "train", "v5e-2x2")["programs"]
    model = registry.shape("bloom-tiny")
    assert step["model_flops"] == model_flops(model, 8 * 128, 128)
    blocks = 3 * 2 * 2 * 12 * 32 * 32 * 8 * 128  # of two layers
    more = 4 * step["flops"] - step["model_flops"]
    # The forward pass of the blocks again, without its last product, and all pairs of tokens.
    attention = 8 * 128 * 2 * 2 * 2 * 32 * (4 * 128 - 3 * 64.5)
    assert more == pytest.approx(blocks / 3 * 8 / 12 + attention, rel=0.02)
    assert step["loops_by_data"] == 0


def test_chips_exchange_the_arrays_that_the_mesh_shards(planned):
    (step,) = saved(planned[0], "train", "v5e-2x2")["programs"]
    sent = {(item["kind"], item["axes"]): item["bytes"] for item in step["sent"]}
    # Two all-reduces of activations over `tensor` per block, forward and backward.
    activations = 2 * 128 * 32 * 2  # rows of a microbatch per chip, in bfloat16
    assert sent["all-reduce", "tensor"] >= 2 * 2 * 2 * 2 * activations / 2
    assert any(kind == "all-gather" and axes == "fsdp" for kind, axes in sent)


def test_an_annotation_is_planned_from_its_teachers_published_shape(planned):
    figures = saved(planned[0], "annotate", "v5e-2x2")
    assert figures["assumed"] == ["the teacher is a bloom-tiny (--model)"]
    prefill, decode = figures["programs"]
    assert prefill["program"] == "prefill of 2 prompts of 32 tokens"
    assert decode["program"] == "decode with 8 slots and 64 entries"
    assert decode["loops_by_data"] == 1
    assert decode["passes_by_data"] == 16
    # Keys and values of two layers, eight slots and 64 tokens, in bfloat16.
    assert figures["held"]["KV cache"]["total"] == 2 * 2 * 8 * 64 * 32 * 2
    head = 16 * 8 * 2 * 512 * 32
    assert 4 * decode["flops"] >= head
    speed = figures["speed"]
    per_text = prefill["roofline"]["seconds"] / 2
    per_text += 32 * decode["roofline"]["seconds"] / (16 * 8)
    assert speed["texts_per_second"] == pytest.approx(1 / per_text)
    assert speed["tokens_per_second"] == pytest.approx(32 / per_text)
    assert speed["hours"] == pytest.approx(1_000_000 * per_text / 3600)
    assert speed["chip_hours"] == pytest.approx(4 * speed["hours"])
    text = (planned[0] / "annotate" / "v5e-2x2.txt").read_text(encoding="utf-8")
    assert "1,000,000 rows" in text


def test_decoding_with_heads_of_64_does_not_copy_the_cache_on_a_tpu(planned):
    (share,) = re.findall(r"(?m)^temporaries: (.*)", planned[1])
    assert float(share) < 0.25  # two copies would be 1, and 2 with heads padded to 128 lanes


def test_a_program_that_does_not_fit_is_refused_with_its_memory_and_a_suggestion(planned):
    (error,) = re.findall("(?m)^error: (.*)", planned[1])
    match = re.fullmatch(
        r"does not fit: needs ([\d.]+) GiB of 15.8 GiB; try accumulate=(\d+).*", error
    )
    assert match and float(match[1]) > 15.75 and 2**20 % int(match[2]) == 0
    (step,) = saved(planned[0], "many", "v5e-1x1")["programs"]
    assert not step["fits"]
    assert "does not fit" in (planned[0] / "many" / "v5e-1x1.txt").read_text(encoding="utf-8")


def test_a_slice_that_the_compiler_does_not_support_can_be_replaced_by_the_named_one(planned):
    assert re.search("narrow: .* the compiler does not support this slice", planned[1])
    assert "devices of its example: 64\n" in planned[1]


def test_the_process_still_computes_on_its_cpu(planned):
    assert "default backend: 2 cpu" in planned[1]


def test_a_missing_compiler_is_refused_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "_installed", lambda: False)
    config = TrainConfig(output=str(tmp_path), data="nowhere", model=registry.shape("bloom-tiny"))
    with (
        run_folder.open_run(str(tmp_path), "plan", config) as folder,
        pytest.raises(UserError, match=r"pip install -r requirements-tpu\.txt"),
    ):
        plan(config, folder, PlanOptions("v5e:2x2"))


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ([21.3, 18.0, 12.5], r"; \S+ fits \(compiled: 12.5 GiB\)"),
        (
            [21.3, 18.0, 17.0, 16.0],
            r"; none of these fits either \(compiled\): \S+ needs 18.0 GiB; \S+ needs",
        ),
    ],
)
def test_suggestions_can_be_verified_by_compiling_them(needs, expected, monkeypatch, tmp_path):
    remaining = iter(needs)

    def planned(prepared, tpu_slice, rows=0):
        needed = next(remaining)
        sizes = {"memory": needed * 2**30, "memory_available": 15.75 * 2**30}
        return {"programs": [{**sizes, "fits": needed < 15.75}]}

    monkeypatch.setattr(compiler, "devices", lambda tpu_slice: jax.devices()[: tpu_slice.chips])
    monkeypatch.setattr(plan_verb, "planned", planned)
    monkeypatch.setattr(plan_verb, "page", lambda plan, tpu_slice: "")
    model = registry.shape("bloom-560m", remat="none", attention="xla")
    config = TrainConfig(output=str(tmp_path), data="d", model=model, batch_size=64)
    with (
        run_folder.open_run(str(tmp_path), "plan", config) as folder,
        pytest.raises(UserError, match=f"^does not fit: needs 21.3 GiB of 15.8 GiB{expected}"),
    ):
        plan_verb.plan(config, folder, PlanOptions("v5e:2x2", advise=True))
    assert next(remaining, None) is None


def test_sizes_that_no_dataset_or_teacher_defines_are_required(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "devices", lambda tpu_slice: jax.devices()[: tpu_slice.chips])
    open_size = registry.shape("bloom-tiny", vocab_size=0)
    train = TrainConfig(output=str(tmp_path / "t"), data="nowhere", model=open_size)
    annotate = AnnotateConfig(output=str(tmp_path / "a"), teachers=TeachersConfig(cot="nowhere"))
    uneven = TrainConfig(
        output=str(tmp_path / "u"), data="d", model=open_size, batch_size=6, mesh=MeshConfig(4)
    )
    odd = TrainConfig(output=str(tmp_path / "o"), data="d", mesh=MeshConfig(3, 1, 1))
    for config, fault in (
        (odd, r"config.mesh: the product of data=3, .* the number of devices, 4"),
        (train, r"config.model.vocab_size: 0, and nowhere does not exist here"),
        (annotate, r"nowhere: no such folder.*; or name its shape, as in --model=bloom-7b1"),
        (uneven, r"config.batch_size=6: not divisible by 4"),
    ):
        with (
            run_folder.open_run(config.output, "plan", config) as folder,
            pytest.raises(UserError, match=fault),
        ):
            plan(config, folder, PlanOptions("v5e:2x2"))
