"""Slices by name, and names that are refused."""

import math
import re
from pathlib import Path

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import chips

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tpu-slices.md"


@pytest.mark.parametrize(
    ("topology", "name", "count"),
    [
        ("v5e:8x8", "v5e:8x8", 64),
        ("v5litepod:4x4", "v5e:4x4", 16),
        ("V6E:1x1", "v6e:1x1", 1),
        ("v5p:4x4x8", "v5p:4x4x8", 128),
    ],
)
def test_a_topology_is_parsed_into_a_slice(topology, name, count):
    parsed = chips.parse(topology)
    assert (parsed.name, parsed.chips) == (name, count)


@pytest.mark.parametrize(
    ("topology", "fault"),
    [
        ("h100:8", "unknown chip 'h100'; expected one of v5e, v5p, v6e, as in"),
        ("v5e", "expected 2 sizes for v5e, as in --topology=v5e:4x4"),
        ("v5e:8", "expected 2 sizes for v5e"),
        ("v5p:8x8", "expected 3 sizes for v5p, as in --topology=v5p:4x4x4"),
        ("v5e:8xx8", "expected 2 sizes"),
        ("v5e:3x3", "no slice has this shape; expected one of 1x1, 2x2, 2x4,"),
        ("v5p:3x4x4", "no slice has this shape; the first two sizes must be even"),
        ("v5e:0x4", "no slice has this shape"),
        ("v5e:32x32", "1024 chips; the largest slice of v5e has 256"),
    ],
)
def test_an_invalid_topology_is_refused_with_a_valid_example(topology, fault):
    with pytest.raises(UserError, match=re.escape(f"--topology={topology}: {fault}")):
        chips.parse(topology)


@pytest.mark.parametrize(
    ("topology", "larger"),
    [
        ("v5e:1x1", "v5e:2x2"),
        ("v5e:2x2", "v5e:2x4"),
        ("v5e:2x4", "v5e:4x4"),
        ("v5p:2x2x1", "v5p:2x2x2"),
        ("v5p:4x4x4", "v5p:4x4x8"),
    ],
)
def test_larger_returns_the_next_larger_slice(topology, larger):
    assert chips.parse(topology).larger() == chips.parse(larger)


def test_the_largest_slice_has_no_larger_one():
    assert chips.parse("v5e:16x16").larger() is None


@pytest.mark.parametrize(
    ("topology", "axes", "possible"),
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
    ],
)
def test_a_mesh_axis_uses_whole_dimensions_of_a_slice(topology, axes, possible):
    assert chips.parse(topology).carries(axes) == possible


def test_the_documentation_shows_the_figures_of_the_code():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| v\d\w \|", line)
    ]
    assert {row[0] for row in rows} == set(chips.CHIPS)
    for name, peak, memory, usable, bandwidth, links, most, _ in rows:
        chip = chips.CHIPS[name]
        shown = [float(cell.replace(",", "")) for cell in (peak, memory, usable, bandwidth, links)]
        in_code = [chip.peak / 1e12, chip.hbm, chip.usable, chip.bandwidth / 1e9, chip.links / 1e9]
        assert all(map(math.isclose, shown, in_code)), name
        assert int(most.replace(",", "")) == chip.most
