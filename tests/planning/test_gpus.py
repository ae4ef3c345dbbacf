"""GPUs by name, and names that are refused."""

import math
import re
from pathlib import Path

import pytest

from benchmarks.gpu_cases import BANDWIDTHS
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import chips, gpus, topology
from teacherlm_jax.training.flops import peak

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gpus.md"


@pytest.mark.parametrize(
    ("given", "name", "count"),
    [
        ("gpu:4090", "gpu:4090", 1),
        ("GPU:RTX4090x2", "gpu:4090x2", 2),
        ("gpu:h100x8", "gpu:h100x8", 8),
        ("gpu:a100-40gbx4", "gpu:a100-40gbx4", 4),
        ("gpu:a100-80gb", "gpu:a100", 1),
        ("gpu:h200x16", "gpu:h200x16", 16),
        ("gpu:l4x3", "gpu:l4x3", 3),
    ],
)
def test_a_topology_is_parsed_into_gpus(given, name, count):
    parsed = topology.parse(given)
    assert (parsed.name, parsed.chips) == (name, count)
    assert topology.parse(parsed.name) == parsed


@pytest.mark.parametrize(
    ("given", "fault"),
    [
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
        ("v5e:3x3", "no slice has this shape"),
    ],
)
def test_an_invalid_topology_is_refused_with_valid_examples(given, fault):
    with pytest.raises(UserError, match=re.escape(f"--topology={given}: {fault}")) as refused:
        topology.parse(given)
    for example in re.findall(r"as in --topology=([^ ,]+)", str(refused.value)):
        assert topology.parse(example).name == example


def test_a_slice_of_tpus_is_parsed_as_before():
    assert topology.parse("v5litepod:4x4") == chips.parse("v5e:4x4")


@pytest.mark.parametrize(
    ("given", "larger"),
    [
        ("gpu:4090", "gpu:4090x2"),
        ("gpu:4090x4", "gpu:4090x8"),
        ("gpu:4090x8", None),
        ("gpu:l4x3", "gpu:l4x6"),
        ("gpu:h100x8", "gpu:h100x16"),
        ("gpu:h100x6", None),
    ],
)
def test_larger_returns_twice_as_many_gpus_that_some_machines_have(given, larger):
    assert gpus.parse(given).larger() == (larger and gpus.parse(larger))


def test_gpus_of_several_machines_send_over_the_network():
    one, two = gpus.parse("gpu:h100x8"), gpus.parse("gpu:h100x16")
    assert one.chip.links == one.gpu.links > two.chip.links == two.gpu.network


def test_any_mesh_of_all_gpus_is_possible():
    wanted = gpus.parse("gpu:h100x8")
    assert wanted.carries((2, 2, 2)) and wanted.carries((1, 8, 1))
    assert not wanted.carries((1, 4, 1))


@pytest.mark.parametrize("name", gpus.GPUS)
def test_benchmarks_compare_with_the_same_figures(name):
    gpu = gpus.GPUS[name]
    assert peak(gpu.kind) == gpu.peak
    known = [size for kind, size in BANDWIDTHS.items() if kind.startswith(gpu.kind)]
    assert not known or gpu.bandwidth in known


def test_another_gpu_of_a_similar_name_has_its_own_peak():
    assert peak("NVIDIA L40S") == 362e12
    assert peak("NVIDIA L4") == 121e12


def test_less_memory_is_usable_than_published():
    for gpu in gpus.GPUS.values():
        assert 0.85 < gpu.usable * 2**30 / (gpu.memory * 1e9) < 0.98
        assert gpu.reported * 2**30 > gpu.memory * 0.97e9


def test_the_documentation_shows_the_figures_of_the_code():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `[\w-]+` \|", line)
    ]
    assert [row[0].strip("`") for row in rows] == list(gpus.GPUS)
    for name, memory, reported, usable, dense, int8, bandwidth, links, network, _ in rows:
        gpu = gpus.GPUS[name.strip("`")]
        cells = (memory, reported, usable, dense, int8, bandwidth, links)
        shown = [float(cell.replace(",", "")) for cell in cells]
        in_code = [gpu.memory, gpu.reported, round(gpu.usable, 1), gpu.peak / 1e12]
        in_code += [gpu.int8 / 1e12, gpu.bandwidth / 1e9, gpu.links / 1e9]
        assert all(map(math.isclose, shown, in_code)), name
        assert network == (f"{gpu.network / 1e9:.0f}" if gpu.network else "-")
