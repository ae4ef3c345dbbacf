"""Errors of the compiler when memory runs out, and suggested settings."""

import dataclasses
import re

import jax
import pytest

from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import advice, chips, memory, roofline
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.programs import compiled, in_gib, lacking
from teacherlm_jax.planning.training_program import PlannedTraining
from teacherlm_jax.wording import GIB

STEP = (
    "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: XLA:TPU compile permanent error. Ran out of "
    "memory in memory space hbm. Used 16.11G of 15.75G hbm. Exceeded hbm capacity by 370.10M."
)
KERNEL = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(960.00G) exceeds available HBM (95.74G)."
)
PARAMETERS = 7_069_016_064


def config(**changes):
    model = registry.shape("bloom-7b1", attention="fused", remat=changes.pop("remat", "full"))
    return TrainConfig(output="o", data="d", model=model, batch_size=768, **changes)


def run_of(requested):
    """Return a run whose mesh is resolved for 64 chips, without its arrays."""

    class Shapes:
        parameters = PARAMETERS

    mesh = requested.mesh
    rest = 64 // (mesh.fsdp * mesh.tensor) if mesh.data == -1 else mesh.data
    settled = dataclasses.replace(requested, mesh=dataclasses.replace(mesh, data=rest))
    return PlannedTraining(requested, settled, None, Shapes(), 2048, ())


def words(requested, needed=0.0, topology="v5e:8x8"):
    """Return the changes suggested for a step that needs `needed` GiB; 0: as estimated."""
    run = run_of(requested)
    needed = needed * GIB or memory.estimate(run.config, PARAMETERS, 2048)
    return [change.words for change in advice.for_training(run, chips.parse(topology), needed)]


@pytest.mark.parametrize(
    ("message", "needed", "available"), [(STEP, 16.11, 15.75), (KERNEL, 960.0, 95.74)]
)
def test_needed_and_available_memory_are_read_from_the_compilers_error(message, needed, available):
    def fail():
        raise jax.errors.JaxRuntimeError(message)

    program = compiled("step", fail)
    assert program.text == ""
    assert program.memory == pytest.approx(needed * GIB)
    assert program.available == pytest.approx(available * GIB)


def test_other_errors_of_the_compiler_are_raised_again():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL: no"):
        lacking("INTERNAL: no")


def test_the_estimate_is_close_to_the_memory_of_the_compiled_program():
    # bloom-7b1 on v5e:4x4, fsdp=8, tensor=2, accumulate=24: `make bench-plan` compiled it.
    candidate = config(mesh=MeshConfig(1, 8, 2), accumulate=24)
    assert memory.estimate(candidate, PARAMETERS, 2048) / GIB == pytest.approx(15.5, rel=0.1)


@pytest.mark.parametrize(
    "less",
    [
        {"mesh": MeshConfig(1, 16, 1)},
        {"accumulate": 96},
        {"remat": "dots"},
        {"remat": "full"},
        {"mesh": MeshConfig(1, 4, 2), "accumulate": 192},
    ],
)
def test_every_suggested_change_lowers_the_estimate(less):
    now = memory.estimate(config(mesh=MeshConfig(1, 8, 1), remat="none"), PARAMETERS, 2048)
    changed = {"mesh": MeshConfig(1, 8, 1), "remat": "none", **less}
    assert memory.estimate(config(**changed), PARAMETERS, 2048) < now
    # and not because the mesh has fewer chips
    assert changed["mesh"].fsdp * changed["mesh"].tensor >= 8


def test_the_smallest_sufficient_change_of_each_setting_is_suggested():
    requested = config(mesh=MeshConfig(1, 64, 1))
    assert words(requested, 16.1) == ["accumulate=2"]  # tensor=2 means more rows per chip
    assert words(requested, 22.0) == ["accumulate=6"]
    less = dataclasses.replace(requested, accumulate=12)
    assert words(less, 18.0) == ["fsdp=32, tensor=2"]
    assert words(config(mesh=MeshConfig(1, 64, 1), remat="none", accumulate=6)) == ["remat=full"]


@pytest.mark.parametrize(("heads", "suggested"), [(32, True), (256, False)])
def test_the_fused_kernel_is_suggested_for_wide_heads_only(heads, suggested):
    """Compiled, a step of bloom-tiny with heads of 8 needs 36 GiB with it, 16.5 GiB with xla."""
    requested = config(mesh=MeshConfig(1, 64, 1))
    model = dataclasses.replace(requested.model, attention="xla", heads=heads)
    changes = words(dataclasses.replace(requested, model=model), 16.1)
    assert changes and ("attention=fused" in changes) == suggested


def test_an_axis_that_follows_from_the_others_is_not_named():
    (first, *_) = words(config(), 100.0)
    assert first == "fsdp=64"  # data=-1 is resolved to 1


def test_settings_are_combined_if_no_single_change_is_enough():
    (only,) = words(
        config(remat="none", mesh=MeshConfig(1, 1, 1), accumulate=1), topology="v5e:4x4"
    )
    assert re.fullmatch(r"fsdp=\d+, (tensor=\d+, )?remat=full, accumulate=\d+", only)


def test_estimates_are_scaled_to_the_compiled_memory_before_settings_are_combined():
    """An estimate far below the compiled memory must still lead to a suggestion."""
    requested = config(mesh=MeshConfig(1, 64, 1), accumulate=2)
    (only,) = words(requested, 21.8)
    assert re.fullmatch(r"fsdp=\d+, tensor=\d+, accumulate=\d+", only)


def test_no_setting_is_suggested_if_none_helps():
    assert words(config(mesh=MeshConfig(1, 4, 1), accumulate=192), topology="v5e:2x2") == []
    sentence = advice.sentence(60 * GIB, 15.75 * GIB, [], chips.parse("v5e:2x2"))
    assert sentence.endswith("and no setting makes it fit; try --topology=v5e:2x4")
    assert chips.parse("v5e:2x4").name == "v5e:2x4"
    on_largest = advice.sentence(60 * GIB, 15.75 * GIB, [], chips.parse("v5e:16x16"))
    assert on_largest.endswith("use a chip with more memory (v5p or v6e), or a smaller model")


def test_the_error_names_needed_and_available_memory_and_settings_to_try():
    changes = [advice.ConfigChange("tensor=4", None), advice.ConfigChange("remat=full", None)]
    assert advice.sentence(21.3 * GIB, 16 * GIB, changes, chips.parse("v5e:2x2")) == (
        "does not fit: needs 21.3 GiB of 16.0 GiB; try tensor=4 or remat=full"
    )


def test_candidates_fit_by_estimate_and_are_sorted_by_communication():
    tpu_slice = chips.parse("v5p:4x4x4")
    candidates = list(memory.candidates(config(), PARAMETERS, tpu_slice, 2048))
    sent = [memory.bytes_sent(candidate, PARAMETERS, 2048) for candidate in candidates]
    assert candidates and sent == sorted(sent)
    for candidate in candidates:
        assert memory.divides(candidate) and tpu_slice.carries(dataclasses.astuple(candidate.mesh))
        assert memory.estimate(candidate, PARAMETERS, 2048) <= tpu_slice.chip.usable * GIB


def test_the_roofline_is_the_maximum_of_compute_memory_and_links():
    chip = chips.CHIPS["v5e"]
    counts = Counts(flops=197e12 * 2, memory=819e9, sent={("all-gather", "fsdp"): 200e9 * 3})
    best = roofline.roofline(counts, chip)
    assert (best.compute, best.memory, best.links) == pytest.approx((2.0, 1.0, 3.0))
    assert (best.seconds, best.bound) == (best.links, "links")
    assert roofline.mfu_bound(197e12 * 4, best.seconds, 4, chip) == pytest.approx(1 / 3)
    assert roofline.intensity(counts) == pytest.approx(2 * 197e12 / 819e9)


def test_sizes_are_printed_in_gib_or_mib():
    assert (in_gib(21.34 * GIB), in_gib(3 * 2**20)) == ("21.3 GiB", "3.0 MiB")
