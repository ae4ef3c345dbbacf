"""What the compiler says when memory runs out, and advice."""

import dataclasses
import re

import jax
import pytest

from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import advice, chips, memory, roofline
from teacherlm_jax.planning.chips import GIB
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.programs import compiled, in_gib, lacking
from teacherlm_jax.planning.training_program import PlannedTraining

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


def run_of(asked):
    """A run whose mesh is settled for 64 chips, with nothing of it made."""

    class Shapes:
        parameters = PARAMETERS

    mesh = asked.mesh
    rest = 64 // (mesh.fsdp * mesh.tensor) if mesh.data == -1 else mesh.data
    settled = dataclasses.replace(asked, mesh=dataclasses.replace(mesh, data=rest))
    return PlannedTraining(asked, settled, None, Shapes(), 2048, ())


def words(asked, needed=0.0, where="v5e:8x8"):
    """What is advised when a step needs so many GiB, or as many as are estimated."""
    run = run_of(asked)
    needed = needed * GIB or memory.estimate(run.config, PARAMETERS, 2048)
    return [change.words for change in advice.for_training(run, chips.parse(where), needed)]


@pytest.mark.parametrize(
    ("message", "needed", "available"), [(STEP, 16.11, 15.75), (KERNEL, 960.0, 95.74)]
)
def test_memory_that_ran_out_is_told_in_numbers(message, needed, available):
    def fail():
        raise jax.errors.JaxRuntimeError(message)

    program = compiled("step", fail)
    assert program.text == ""
    assert program.memory == pytest.approx(needed * GIB)
    assert program.available == pytest.approx(available * GIB)


def test_another_failure_of_the_compiler_is_not_taken_for_it():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL: no"):
        lacking("INTERNAL: no")


def test_the_estimate_is_near_what_was_compiled():
    # bloom-7b1 on v5e:4x4, fsdp=8, tensor=2, accumulate=24: `make bench-plan` compiled it.
    way = config(mesh=MeshConfig(1, 8, 2), accumulate=24)
    assert memory.estimate(way, PARAMETERS, 2048) / GIB == pytest.approx(15.5, rel=0.1)


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
def test_what_is_advised_lowers_the_estimate(less):
    now = memory.estimate(config(mesh=MeshConfig(1, 8, 1), remat="none"), PARAMETERS, 2048)
    changed = {"mesh": MeshConfig(1, 8, 1), "remat": "none", **less}
    assert memory.estimate(config(**changed), PARAMETERS, 2048) < now
    # and not because the chips became fewer
    assert changed["mesh"].fsdp * changed["mesh"].tensor >= 8


def test_the_smallest_sufficient_change_of_each_setting_is_advised():
    asked = config(mesh=MeshConfig(1, 64, 1))
    assert words(asked, 16.1) == ["accumulate=2"]  # tensor=2 would hold more rows a chip
    assert words(asked, 22.0) == ["accumulate=6"]
    less = dataclasses.replace(asked, accumulate=12)
    assert words(less, 18.0) == ["fsdp=32, tensor=2"]
    assert words(config(mesh=MeshConfig(1, 64, 1), remat="none", accumulate=6)) == ["remat=full"]


def test_an_axis_that_follows_from_the_others_is_not_named():
    (first, *_) = words(config(), 100.0)
    assert first == "fsdp=64"  # and data=-1 becomes 1 by itself


def test_where_no_single_change_is_enough_all_of_them_are_advised_together():
    (only,) = words(config(remat="none", mesh=MeshConfig(1, 1, 1), accumulate=1), where="v5e:4x4")
    assert re.fullmatch(r"fsdp=\d+, (tensor=\d+, )?remat=full, accumulate=\d+", only)


def test_what_is_advised_together_is_enough_for_what_compiling_found():
    """An estimate far below the need must not end in no advice: it is scaled to the need."""
    asked = config(mesh=MeshConfig(1, 64, 1), accumulate=2)
    (only,) = words(asked, 21.8)
    assert re.fullmatch(r"fsdp=\d+, tensor=\d+, accumulate=\d+", only)


def test_nothing_is_advised_where_nothing_helps():
    assert words(config(mesh=MeshConfig(1, 4, 1), accumulate=192), where="v5e:2x2") == []
    sentence = advice.sentence(60 * GIB, 15.75 * GIB, [], chips.parse("v5e:2x2"))
    assert sentence.endswith("and no setting makes it fit; try --topology=v5e:2x4")
    assert chips.parse("v5e:2x4").name == "v5e:2x4"
    on_largest = advice.sentence(60 * GIB, 15.75 * GIB, [], chips.parse("v5e:16x16"))
    assert on_largest.endswith("use a chip with more memory, or a smaller model")


def test_the_sentence_names_need_room_and_ways_out():
    changes = [advice.ConfigChange("tensor=4", None), advice.ConfigChange("remat=full", None)]
    assert advice.sentence(21.3 * GIB, 16 * GIB, changes, chips.parse("v5e:2x2")) == (
        "does not fit: needs 21.3 GiB of 16.0 GiB; try tensor=4 or remat=full"
    )


def test_candidates_fit_by_the_estimate_divide_the_mesh_and_send_least_first():
    where = chips.parse("v5p:4x4x4")
    ways = list(memory.candidates(config(), PARAMETERS, where, 2048))
    sent = [memory.sent(way, PARAMETERS, 2048) for way in ways]
    assert ways and sent == sorted(sent)
    for way in ways:
        assert memory.divides(way) and where.carries(dataclasses.astuple(way.mesh))
        assert memory.estimate(way, PARAMETERS, 2048) <= where.chip.usable * GIB


def test_the_roofline_is_the_slowest_of_three():
    chip = chips.CHIPS["v5e"]
    counts = Counts(flops=197e12 * 2, memory=819e9, sent={("all-gather", "fsdp"): 200e9 * 3})
    best = roofline.roofline(counts, chip)
    assert (best.compute, best.memory, best.links) == pytest.approx((2.0, 1.0, 3.0))
    assert (best.seconds, best.bound) == (best.links, "links")
    assert roofline.mfu_bound(197e12 * 4, best.seconds, 4, chip) == pytest.approx(1 / 3)
    assert roofline.intensity(counts) == pytest.approx(2 * 197e12 / 819e9)


def test_sizes_are_told_in_units_that_show_them():
    assert (in_gib(21.34 * GIB), in_gib(3 * 2**20)) == ("21.3 GiB", "3.0 MiB")
