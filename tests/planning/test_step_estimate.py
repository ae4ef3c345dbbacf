"""Estimates of a pipeline's steps from sizes alone, beside compiled programs and real models."""

import dataclasses
import pathlib

import jax
import pytest

from teacherlm_jax import config, sharding
from teacherlm_jax.models import registry
from teacherlm_jax.planning import chips, step_estimate
from teacherlm_jax.planning.step_estimate import COMPILED, ESTIMATED
from teacherlm_jax.storage import files

RESULTS = pathlib.Path(__file__).parents[2] / "benchmarks/results"
COMPILED_ROWS = files.read_json(RESULTS / "plan.json")["rows"]
STEP = config.StepConfig(
    name="s", title="s", verb="train", config="a.py", output="runs/s", slice="v5e:8x8"
)


@pytest.mark.parametrize("name", registry.SHAPES)
def test_parameters_are_counted_as_the_model_has_them(name):
    model = registry.shape(name)
    mesh = sharding.make_mesh(config.MeshConfig(1, 1, 1), jax.devices()[:1])
    _, shapes = registry.abstract(model, mesh)
    count = sum(array.size for array in jax.tree.leaves(shapes))
    assert step_estimate.parameters(model) == count


def training(**changes):
    model = registry.shape("bloom-7b1", remat="full", attention="fused")
    return config.TrainConfig(
        output="runs/s",
        data="data",
        model=model,
        batch_size=768,
        accumulate=4,
        steps=1000,
        mesh=config.MeshConfig(1, -1, 2),
        **changes,
    )


@pytest.mark.parametrize("row", COMPILED_ROWS, ids=lambda row: f"{row['model']}-{row['slice']}")
def test_the_hours_of_a_training_are_those_of_the_compiled_products(row):
    settings = config.TrainConfig(
        output="runs/s",
        data="data",
        model=registry.shape(row["model"], remat="full", attention="fused"),
        batch_size=row["batch"],
        accumulate=row["accumulate"],
        steps=3600,
        mesh=config.MeshConfig(**row["mesh"]),
    )
    estimate = step_estimate.estimate(STEP, [settings], chips.parse(row["slice"]), None)
    assert estimate.hours == pytest.approx(row["roofline"]["compute"], rel=0.06)
    # The traffic of the memory is not estimated; docs/how-to/run-a-pipeline.md has this factor.
    assert row["roofline"]["seconds"] < 2.4 * estimate.hours
    assert (estimate.chips, estimate.basis, estimate.problem) == (row["chips"], ESTIMATED, "")
    assert estimate.chip_hours == pytest.approx(row["chips"] * estimate.hours)


def test_the_time_of_a_compiled_step_counts_on_its_own_slice_only():
    step = dataclasses.replace(STEP, step_seconds=7.2)
    estimate = step_estimate.estimate(step, [training()], chips.parse("v5e:8x8"), None)
    assert (estimate.hours, estimate.basis) == (pytest.approx(2.0), COMPILED)
    other = step_estimate.estimate(step, [training()], chips.parse("v5e:8x16"), None)
    assert other.basis == ESTIMATED and 1 / 0.3 > 2.0 / other.hours > 1.9


def test_the_points_of_a_sweep_are_added_up():
    slice_, short, long = chips.parse("v5e:8x8"), training(), training()
    long.steps = 9 * short.steps
    one = step_estimate.estimate(STEP, [short], slice_, None)
    for points in ([short, long], [long, short]):
        both = step_estimate.estimate(STEP, points, slice_, None)
        assert both.hours == pytest.approx(10 * one.hours)
        assert (both.chips, both.storage) == (one.chips, 2 * one.storage)
    unknown = dataclasses.replace(short, model=dataclasses.replace(short.model, vocab_size=0))
    both = step_estimate.estimate(STEP, [short, unknown], slice_, None)
    assert both.hours is None and "config.model.vocab_size is 0" in both.problem


def test_checkpoints_that_are_kept_are_the_storage_of_a_training():
    keeps = config.CheckpointConfig(every=10, keep=3)
    parameters = step_estimate.parameters(registry.shape("bloom-7b1"))
    estimate = step_estimate.estimate(STEP, [training(checkpoint=keeps)], chips.parse("v5e:8x8"),
                                      None)  # fmt: skip
    assert estimate.storage == 3 * 12 * parameters


def test_a_run_that_does_not_fit_or_divide_is_a_problem():
    small = step_estimate.estimate(STEP, [training()], chips.parse("v5e:2x2"), None)
    assert small.problem.startswith("may not fit: ") and "15.8 per chip" in small.problem
    mesh = config.MeshConfig(1, 1, 64)
    uneven = dataclasses.replace(training(), mesh=mesh)
    estimate = step_estimate.estimate(STEP, [uneven], chips.parse("v5e:8x8"), None)
    assert "tensor=64 does not divide" in estimate.problem


def annotation(**teachers):
    return config.AnnotateConfig(
        output="runs/s",
        source=config.SourceConfig("rows", "rows.jsonl"),
        teachers=config.TeachersConfig(**teachers),
        mesh=config.MeshConfig(1, 1, 16),
    )


def test_the_hours_of_an_annotation_grow_with_rows_and_kinds():
    step = dataclasses.replace(STEP, verb="annotate", rows=100_000, tokens=250.0)
    slice_ = chips.parse("v5e:4x4")
    one = step_estimate.estimate(step, [annotation(cot="a")], slice_, None)
    three = step_estimate.estimate(
        step, [annotation(cot="a", fundamental="b", mistake="c")], slice_, None
    )
    assert one.basis == ESTIMATED
    assert 2.0 < three.hours / one.hours < 5.0
    more = dataclasses.replace(step, rows=200_000)
    assert step_estimate.estimate(more, [annotation(cot="a")], slice_, None).hours == pytest.approx(
        2 * one.hours
    )
    # Decoding reads all weights once for 64 tokens; prompts are read at the peak.
    weights = 2 * step_estimate.parameters(registry.shape("bloom-7b1"))
    least = 100_000 * 70 / 64 * weights / (16 * slice_.chip.bandwidth) / 3600
    assert least < one.hours < 4 * least


def test_a_model_on_a_server_needs_no_chips():
    step = dataclasses.replace(STEP, verb="annotate", slice="", rows=10, tokens=50.0)
    served = annotation(cot="http://localhost:1/v1#m")
    estimate = step_estimate.estimate(step, [served], None, None)
    assert (estimate.hours, estimate.chips) == (None, 0) and estimate.storage > 0
