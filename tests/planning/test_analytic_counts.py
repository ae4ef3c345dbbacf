"""Counts and memory from shapes alone, compared with those of compiled programs."""

import json
from pathlib import Path

import jax
import pytest

from teacherlm_jax import capacity
from teacherlm_jax.config import (
    AnnotateConfig,
    LoraConfig,
    MeshConfig,
    ModelConfig,
    SamplingConfig,
    TeachersConfig,
    TrainConfig,
)
from teacherlm_jax.models import adapter, attention_blockwise, registry
from teacherlm_jax.planning import (
    analytic_counts,
    annotation_programs,
    gpu_memory,
    memory,
    training_program,
)
from teacherlm_jax.planning.counts import count
from teacherlm_jax.training import step_memory

LENGTH = 2048
# `make bench-plan` compiled these training steps with libtpu, at full size.
COMPILED = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "results" / "plan.json").read_text("utf-8")
)["rows"]
SMALL = ModelConfig("bloom", 4, 128, 4, vocab_size=4096, dtype="float32")


def trained(name, mesh=(1, 1, 1), lora=None, **changes):
    """Return a planned training on GPUs that are not here."""
    model = registry.shape(name, attention="blockwise", remat=changes.pop("remat", "full"))
    config = TrainConfig(
        *("runs/x", "nowhere"),
        model=model,
        mesh=MeshConfig(*mesh),
        lora=lora or LoraConfig(),
        **changes,
    )
    return training_program.prepare(config, mesh[0] * mesh[1] * mesh[2], LENGTH)


def of_row(row):
    mesh = (row["mesh"]["data"], row["mesh"]["fsdp"], row["mesh"]["tensor"])
    return trained(row["model"], mesh, batch_size=row["batch"], accumulate=row["accumulate"])


def name_of(row):
    return f"{row['model']} on {row['slice']}"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(registry._SHAPES, "small", SMALL)
    # Plans count the blocks of GPUs; the programs of these tests are compiled for a CPU.
    monkeypatch.setattr(attention_blockwise, "CPU_BLOCK", attention_blockwise.BLOCK)


@pytest.mark.parametrize(
    ("attention", "remat", "parts"), [("xla", "full", 2), ("blockwise", "none", 1)]
)
def test_flops_and_memory_of_a_step_are_close_to_those_of_the_program_compiled_for_this_cpu(
    attention, remat, parts, small
):
    model = registry.shape("small", attention=attention, remat=remat)
    config = TrainConfig(
        *("runs/x", "nowhere"),
        model=model,
        batch_size=8,
        accumulate=parts,
        mesh=MeshConfig(1, 1, 1),
    )
    run = training_program.prepare(config, jax.devices()[:1], 512)
    program = run.compiled()
    counts = count(program.text, run.workload.mesh, run.workload.assumed_trips)
    assert analytic_counts.of_training(run).flops == pytest.approx(counts.flops, rel=0.01)
    # Other compilers fuse and order a step differently: the activations are only about the same.
    estimated = step_memory.estimate(run.config, run.shapes.parameters, 512).total
    assert estimated == pytest.approx(program.memory, rel=0.3)


@pytest.mark.parametrize("length", [512, 2048])
@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize(("remat", "low", "high"), [("full", -0.4, -0.2), ("none", 0.1, 0.3)])
def test_the_memory_of_blockwise_attention_is_within_the_error_that_plans_print(
    remat, low, high, rank, length, small
):
    config = TrainConfig(
        *("runs/x", "nowhere"),
        model=registry.shape("small", attention="blockwise", remat=remat),
        batch_size=8,
        accumulate=1,
        mesh=MeshConfig(1, 1, 1),
        lora=LoraConfig(rank=rank),
    )
    run = training_program.prepare(config, jax.devices()[:1], length)
    estimated = step_memory.estimate(run.config, run.shapes.parameters, length).total
    error = estimated / run.compiled().memory - 1
    assert low < error < high
    assert abs(error) < gpu_memory.ERROR


@pytest.mark.parametrize("row", COMPILED, ids=name_of)
def test_the_estimated_memory_of_a_step_is_within_20_percent_of_the_compiled_one(row):
    run = of_row(row)
    assert run.shapes.parameters == row["parameters"]
    parts = gpu_memory.of_training(run)
    assert sum(parts.values()) == pytest.approx(row["memory"], rel=0.2)
    assert parts["parameters"] + parts["optimizer"] == pytest.approx(row["state"], rel=0.001)


@pytest.mark.parametrize("row", COMPILED, ids=name_of)
def test_the_bytes_that_a_step_sends_are_within_20_percent_of_the_compiled_ones(row):
    sent = sum(item["bytes"] for item in row["sent"])
    assert sum(analytic_counts.of_training(of_row(row)).sent.values()) == pytest.approx(
        sent, rel=0.2, abs=1e6
    )


@pytest.mark.parametrize("row", [row for row in COMPILED if row["chips"] == 1], ids=name_of)
def test_the_memory_traffic_of_one_chip_is_within_20_percent_of_the_compiled_one(row, monkeypatch):
    # The compiled programs have a fused kernel, whose scores stay on the chip.
    with_scores = analytic_counts.of_training(of_row(row)).memory
    monkeypatch.setattr(analytic_counts, "_score_bytes", lambda *_: 0.0)
    without = analytic_counts.of_training(of_row(row)).memory
    assert without == pytest.approx(row["memory_moved"], rel=0.2)
    assert with_scores > 1.1 * without


# Programs of `teacherlm plan --topology=v5p:1x1x1`, compiled by libtpu 0.0.42.1: model, weights,
# attention, slots, tokens of a prompt, new tokens; then bytes and FLOPs of the prefill.
PREFILLS = [
    ("bloom-560m", "", "blockwise", 64, 512, 512, 11_312_719_360, 1_671_597_916_160),
    ("bloom-560m", "", "xla", 64, 512, 512, 11_304_561_088, 1_703_810_170_880),
    ("bloom-560m", "", "blockwise", 64, 2048, 512, 27_350_632_864, 7_379_206_799_360),
    ("bloom-7b1", "int8", "blockwise", 32, 512, 256, 26_655_375_456, 12_764_252_733_440),
    ("opt-1.3b", "", "blockwise", 96, 1024, 512, 49_433_952_352, 20_991_253_151_744),
]


def explaining(name, weights, attention, slots, prompt, new, mesh=(1, 1, 1)):
    config = AnnotateConfig(
        output="runs/x",
        slots=slots,
        attention=attention,
        weights=weights,
        sampling=SamplingConfig(max_new_tokens=new),
        mesh=MeshConfig(*mesh),
        teachers=TeachersConfig(cot="nowhere"),
    )
    count = mesh[0] * mesh[1] * mesh[2]
    return annotation_programs.prepare(config, count, prompt, name)


@pytest.mark.parametrize(
    ("name", "weights", "attention", "slots", "prompt", "new", "size", "flops"), PREFILLS
)
def test_memory_and_flops_of_a_prefill_are_close_to_the_compiled_ones(
    name, weights, attention, slots, prompt, new, size, flops
):
    run = explaining(name, weights, attention, slots, prompt, new)
    assert sum(gpu_memory.of_annotation(run).values()) == pytest.approx(size, rel=0.1)
    assert analytic_counts.of_annotation(run)[0].flops == pytest.approx(flops, rel=0.01)


def test_decoding_reads_the_weights_and_the_cache_at_every_step():
    run = explaining("bloom-560m", "", "blockwise", 64, 512, 512)
    decode = analytic_counts.of_annotation(run)[1]
    state = sum(run.held())
    # Compiled for a TPU as above: 137.1 GB.
    assert decode.memory == pytest.approx(137.07e9, rel=0.1)
    assert decode.memory > annotation_programs.STEPS * state


def test_components_are_those_of_the_arrays_with_their_shardings():
    run = trained("bloom-560m", (1, 4, 2), batch_size=16, accumulate=2)
    parts, state = gpu_memory.of_training(run), run.shapes.abstract
    assert parts["parameters"] == capacity.bytes_per_device(state.model_params)
    assert parts["optimizer"] == capacity.bytes_per_device(state.opt_state)
    assert parts["gradients"] == 2 * parts["parameters"]
    assert parts["parameters"] == pytest.approx(4 * run.shapes.parameters / 8, rel=0.01)
    once = trained("bloom-560m", (1, 4, 2), batch_size=16)
    assert gpu_memory.of_training(once)["gradients"] == parts["parameters"]


def test_adapters_have_an_optimizer_and_gradients_and_the_base_has_none():
    lora = LoraConfig(rank=16)
    run = trained("bloom-560m", lora=lora, init_from="base", batch_size=1)
    parts = gpu_memory.of_training(run)
    adapters = 4 * adapter.size(1024, 24, lora)
    assert parts["gradients"] == adapters
    assert parts["optimizer"] == pytest.approx(2 * adapters, abs=100)
    base = 2 * (run.shapes.parameters - adapters // 4)  # in bfloat16, except norms
    assert parts["parameters"] == pytest.approx(base + adapters, rel=0.01)
    # A backward pass over frozen weights has no gradient of theirs.
    full = trained("bloom-560m", batch_size=1)
    few, many = (analytic_counts.of_training(one) for one in (run, full))
    assert 0.6 < few.flops / many.flops < 0.8


@pytest.mark.parametrize("mesh", [(2, 1, 1), (1, 1, 2), (1, 2, 1)])
def test_two_gpus_share_an_annotation(mesh):
    settings = ("opt-1.3b", "", "blockwise", 32, 512, 256)
    alone, both = explaining(*settings), explaining(*settings, mesh=mesh)
    whole, half = gpu_memory.of_annotation(alone), gpu_memory.of_annotation(both)
    assert half["KV cache"] == pytest.approx(whole["KV cache"] / 2, rel=0.01)
    share = 1 if mesh[0] == 2 else 2
    assert half["parameters"] == pytest.approx(whole["parameters"] / share, rel=0.01)
    sent = analytic_counts.of_annotation(both)[1].sent
    assert (sum(sent.values()) > 0) == (mesh[0] == 1)
    assert not sum(analytic_counts.of_annotation(alone)[1].sent.values())


def test_replicated_gradients_are_summed_over_the_gpus():
    run = trained("bloom-560m", (2, 1, 1), batch_size=2)
    sent = analytic_counts.of_training(run).sent
    assert sent["all-reduce", "data"] == 4 * run.shapes.parameters
    assert sum(sent.values()) == sent["all-reduce", "data"]


@pytest.mark.parametrize("less", [{"accumulate": 8}, {"lora": LoraConfig(rank=4)}])
def test_the_overhead_is_that_of_compiled_programs(less):
    run = trained("bloom-560m", batch_size=8, init_from="base", **less)
    parts = gpu_memory.of_training(run)
    gaps = parts.pop("gaps and other copies")
    assert gaps == memory.with_overhead(sum(parts.values())) - sum(parts.values())
