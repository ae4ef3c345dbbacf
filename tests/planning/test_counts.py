"""Counts of a compiled program: loops, FLOPs, HBM traffic and collectives."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.planning import hlo, loops
from teacherlm_jax.planning.counts import count

ALONE = {"data": 1, "fsdp": 1, "tensor": 1}

PROGRAMS = Path(__file__).parent / "programs"
# A loop as the TPU compiler writes it, without a stated trip count: from 3 in steps of 2 up to 12.
LOOP = (PROGRAMS / "loop.hlo").read_text(encoding="utf-8")
# An all-gather of weights in chunks that overlap with other work, and a fused reduce-scatter.
COLLECTIVES = (PROGRAMS / "collectives.hlo").read_text(encoding="utf-8")
# Reads one layer of four and replaces it; arrays in on-chip memory, S(1), are free.
PIECES = (PROGRAMS / "pieces.hlo").read_text(encoding="utf-8")


def on_cpu(function, *arrays):
    return jax.jit(function).lower(*arrays).compile().as_text()


def test_a_loop_without_a_stated_trip_count_is_counted_from_its_constants():
    module = hlo.parse(LOOP)
    main = module.computations["main"]
    assert loops.trip_count(module, main, main.instructions["w"]) == 5  # 3, 5, 7, 9, 11
    assert count(LOOP, ALONE).memory == 5 * 2 * 8 * 16 * 4


@pytest.mark.parametrize(
    ("original", "replacement"),
    [
        ("constant(12)", "parameter(1)"),
        ("direction=LT", "direction=NE"),
        ("copy(%three)", "negate(%three)"),
        ("add(%same, %two)", "multiply(%same, %two)"),
        ("add(%same, %two)", "add(%old, %same)"),
    ],
)
def test_a_data_dependent_loop_gets_the_assumed_trip_count(original, replacement):
    text = LOOP.replace(original, replacement)
    counted = count(text, ALONE, assumed_trips=3)
    assert counted.dynamic_loops == 1
    assert counted.memory >= 3 * 2 * 8 * 16 * 4
    assert counted.memory - count(text, ALONE, assumed_trips=2).memory == 2 * 8 * 16 * 4


def test_nested_scans_count_every_iteration():
    def function(x, weights):
        def outer(x, w):
            inner = jax.lax.scan(lambda x, _: (jnp.sin(x @ w), None), x, None, length=3)
            return inner[0], None

        return jax.lax.scan(outer, x, weights)[0]

    x, weights = jnp.zeros((64, 64)), jnp.zeros((5, 64, 64))
    counted = count(on_cpu(function, x, weights), ALONE)
    assert counted.flops == 5 * 3 * 2 * 64**3
    assert counted.dynamic_loops == 0


def test_a_data_dependent_loop_is_also_recognized_on_the_cpu():
    def function(x, w, n):
        return jax.lax.fori_loop(0, n, lambda _, x: jnp.sin(x @ w), x)

    text = on_cpu(function, jnp.zeros((64, 64)), jnp.zeros((64, 64)), 7)
    counted = count(text, ALONE, assumed_trips=2.5)
    assert (counted.flops, counted.dynamic_loops) == (2.5 * 2 * 64**3, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": "VALID"},
        {"window_strides": (2, 3), "padding": ((1, 2), (0, 3))},
        {"window_strides": (1, 1), "padding": ((3, 3), (2, 2)), "lhs_dilation": (3, 2)},
        {"window_strides": (1, 2), "padding": "SAME", "rhs_dilation": (2, 1)},
        {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2},
        {"window_strides": (1, 1), "padding": "SAME", "batch_group_count": 2},
    ],
)
def test_the_flops_of_a_convolution_equal_the_compilers(options):
    groups = options.get("feature_group_count", 1)
    x, w = jnp.zeros((4, 6, 9, 10)), jnp.zeros((8, 6 // groups, 3, 4))
    lowered = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, **options)).lower(x, w)
    text = lowered.compile(compiler_options={"xla_disable_hlo_passes": "all"}).as_text()
    assert count(text, ALONE).flops == lowered.cost_analysis()["flops"]


def test_bytes_sent_are_counted_by_collective_and_mesh_axes():
    mesh = sharding.make_mesh(MeshConfig(1, 4, 2))
    x = jax.device_put(np.zeros((16, 32), np.float32), NamedSharding(mesh, PartitionSpec("fsdp")))

    def function(x):
        whole = jax.lax.all_gather(x, "fsdp", tiled=True)
        total = jax.lax.psum(x, "tensor")
        part = jax.lax.psum_scatter(whole, ("fsdp", "tensor"), tiled=True)
        turned = jax.lax.all_to_all(x, "fsdp", 0, 1, tiled=True)
        moved = jax.lax.ppermute(x, "tensor", [(0, 1), (1, 0)])
        return tuple(map(jnp.sum, (whole, total, part, turned, moved)))

    local = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=PartitionSpec("fsdp"),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    sent = count(on_cpu(local, x), dict(mesh.shape)).sent
    size = 4 * 32 * 4  # bytes of a shard
    assert sent[("all-gather", "fsdp")] == 3 * size
    assert sent[("all-reduce", "tensor")] == size
    assert sent[("reduce-scatter", "fsdp+tensor")] == 4 * size * 7 / 8
    assert sent[("all-to-all", "fsdp")] == size * 3 / 4
    assert sent[("collective-permute", "tensor")] == size


def test_a_chunked_collective_counts_once_and_a_fused_reduce_scatter_is_recognized():
    assert count(COLLECTIVES, {"data": 1, "fsdp": 2, "tensor": 2}).sent == {
        ("all-gather", "fsdp"): 32 * 64 * 2 / 2,
        ("reduce-scatter", "tensor"): 64 * 32 * 4 / 2,
        ("all-reduce", "fsdp"): 2 * 64 * 32 * 4 / 2,
        ("collective-permute", "tensor"): 64 * 32 * 4,
    }


def test_only_slices_that_are_read_or_written_count_and_on_chip_memory_is_free():
    assert count(PIECES, ALONE).memory == 2 * 8 * 16 * 4


def test_a_scatter_writes_the_new_rows_only_and_a_layer_of_the_cache_is_read_once():
    text = (PROGRAMS / "scatter.hlo").read_text(encoding="utf-8")
    assert count(text, ALONE).memory == 2 * 16 * 4 + 8 * 16 * 4


def test_a_product_reads_its_factors_once_and_writes_its_result():
    counted = count((PROGRAMS / "product.hlo").read_text(encoding="utf-8"), ALONE)
    assert counted.flops == 2 * 8 * 32 * 16
    # The first factor is copied to on-chip memory first; the second comes through another fusion.
    assert counted.memory == 2 * (8 * 32 + 32 * 16 + 8 * 16)


def test_attention_kernels_count_blocks_up_to_the_diagonal_and_unknown_kernels_are_named():
    counted = count((PROGRAMS / "kernel.hlo").read_text(encoding="utf-8"), ALONE)
    pairs = 4 * 2 * (4 + 3 + 2 + 1) * 512 * 512  # rows, heads, and blocks of 512 tokens
    forward, of_keys_and_values = 14 + 8, 2 * 14 + 2 * 8
    assert counted.flops == 2 * pairs * (forward + of_keys_and_values)
    assert counted.opaque == {"mine.3": 1}


def test_text_without_an_entry_computation_is_refused():
    with pytest.raises(ValueError, match="invalid HLO: the text has no ENTRY computation"):
        hlo.parse("HloModule m\n")
