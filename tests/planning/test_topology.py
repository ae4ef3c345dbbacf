"""Slices of TPUs and GPUs by name, and names that are refused."""

import re

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import topology


@pytest.mark.parametrize(
    ("given", "name", "count"),
    [
        ("v5e:8x8", "v5e:8x8", 64),
        ("v5litepod:4x4", "v5e:4x4", 16),
        ("V6E:1x1", "v6e:1x1", 1),
        ("v5p:4x4x8", "v5p:4x4x8", 128),
        ("gpu:4090", "gpu:4090", 1),
        ("GPU:RTX4090x2", "gpu:4090x2", 2),
        ("gpu:h100x8", "gpu:h100x8", 8),
        ("gpu:a100-40gbx4", "gpu:a100-40gbx4", 4),
        ("gpu:a100-80gb", "gpu:a100", 1),
        ("gpu:h200x16", "gpu:h200x16", 16),
        ("gpu:l4x3", "gpu:l4x3", 3),
    ],
)
def test_a_topology_is_parsed_and_written_by_its_own_name(given, name, count):
    parsed = topology.parse(given)
    assert (parsed.name, parsed.chips) == (name, count)
    assert topology.parse(name) == parsed


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("v5e", "expected 2 sizes for v5e, as in --topology=v5e:4x4"),
        ("v5e:8", "expected 2 sizes for v5e"),
        ("v5p:8x8", "expected 3 sizes for v5p, as in --topology=v5p:4x4x4"),
        ("v5e:8xx8", "expected 2 sizes"),
        ("v5e:3x3", "no slice has this shape; expected one of 1x1, 2x2, 2x4,"),
        ("v5p:3x4x4", "no slice has this shape; the first two sizes must be even"),
        ("v5e:0x4", "no slice has this shape"),
        ("v5e:32x32", "1024 chips; the largest slice of v5e has 256"),
        ("gpu:b200", "unknown GPU 'b200'; expected one of 4090, l4, a100-40gb, a100, h100, h200"),
        ("gpu:", "unknown GPU ''; expected one of"),
        ("gpu:h100x", "unknown GPU 'h100x'; expected one of"),
        ("gpu:h100x2x2", "unknown GPU 'h100x2'; expected one of"),
        ("gpu:h100x0", "0 GPUs; expected at least one"),
        ("gpu:4090x16", "16 GPUs; expected at most 8, those of one machine"),
        ("gpu:h100x12", "12 GPUs; expected at most 8, those of one machine, or a multiple of 8"),
        ("h100:8", "a GPU; expected gpu: before its name"),
        ("4090x2", "a GPU; expected gpu: before its name"),
        ("b200:8", "unknown chip 'b200'; expected a TPU (v5e, v5p, v6e), as in --topology=v5e:8x8"),
    ],
)
def test_an_invalid_topology_is_refused_with_valid_examples(given, fault):
    with pytest.raises(UserError, match=re.escape(f"--topology={given}: {fault}")) as refused:
        topology.parse(given)
    for example in re.findall(r"as in --topology=([^ ,]+)", str(refused.value)):
        assert topology.parse(example).name == example


@pytest.mark.parametrize(
    ("given", "larger"),
    [
        ("v5e:1x1", "v5e:2x2"),
        ("v5e:2x2", "v5e:2x4"),
        ("v5e:2x4", "v5e:4x4"),
        ("v5e:16x16", None),
        ("v5p:2x2x1", "v5p:2x2x2"),
        ("v5p:4x4x4", "v5p:4x4x8"),
        ("gpu:4090", "gpu:4090x2"),
        ("gpu:4090x4", "gpu:4090x8"),
        ("gpu:4090x8", None),
        ("gpu:l4x3", "gpu:l4x6"),
        ("gpu:h100x8", "gpu:h100x16"),
        ("gpu:h100x6", None),
    ],
)
def test_larger_returns_the_next_larger_slice_or_twice_as_many_gpus(given, larger):
    assert topology.parse(given).larger() == (larger and topology.parse(larger))


@pytest.mark.parametrize(
    ("given", "axes", "possible"),
    [
        ("v5e:8x8", (1, 32, 2), True),  # JAX splits dimensions on v5e
        ("v6e:8x8", (1, 32, 2), False),
        ("v6e:8x8", (1, 8, 8), True),
        ("v6e:1x1", (1, 1, 1), True),
        ("v5p:4x4x4", (1, 32, 2), False),
        ("v5p:4x4x4", (1, 16, 4), True),
        ("v5p:4x4x4", (4, 4, 4), True),
        ("v5p:2x2x4", (1, 2, 8), True),
        ("v5p:2x2x4", (1, 4, 1), False),
        ("gpu:h100x8", (2, 2, 2), True),
        ("gpu:h100x8", (1, 8, 1), True),
        ("gpu:h100x8", (1, 4, 1), False),
    ],
)
def test_a_mesh_axis_uses_whole_dimensions_of_a_slice_and_any_gpus(given, axes, possible):
    assert topology.parse(given).carries(axes) == possible
