"""Published figures of GPUs, and those of the documentation."""

import pytest

from benchmarks.gpu_cases import Card
from teacherlm_jax.planning import gpus
from teacherlm_jax.training.flops import peak
from tests import doc_tables


def test_gpus_of_several_machines_send_over_the_network():
    one, two = gpus.parse("gpu:h100x8"), gpus.parse("gpu:h100x16")
    assert one.chip.links == one.gpu.links > two.chip.links == two.gpu.network


@pytest.mark.parametrize("gpu", gpus.GPUS.values(), ids=gpus.GPUS)
def test_benchmarks_compare_with_the_same_figures(gpu):
    card = Card.named(gpu.kind)
    assert (card.peak, card.bandwidth) == (gpu.peak, gpu.bandwidth)


def test_another_gpu_of_a_similar_name_has_its_own_peak():
    assert peak("NVIDIA L40S") == 362e12
    assert peak("NVIDIA L4") == 121e12


@pytest.mark.parametrize(
    ("name", "kinds", "others"),
    [
        ("l4", ["NVIDIA L4"], ["NVIDIA L40", "NVIDIA L40S"]),
        ("h100", ["NVIDIA H100 80GB HBM3"], ["NVIDIA H100 PCIe", "NVIDIA H100 NVL"]),
        ("h200", ["NVIDIA H200"], ["NVIDIA H200 NVL"]),
        ("a100", ["NVIDIA A100-SXM4-80GB"], ["NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe"]),
        ("4090", ["NVIDIA GeForce RTX 4090"], ["NVIDIA GeForce RTX 4090 D"]),
    ],
)
def test_a_gpu_is_told_from_others_whose_names_begin_alike(name, kinds, others):
    gpu = gpus.GPUS[name]
    assert all(map(gpu.names, kinds)) and not any(map(gpu.names, others))


def test_less_memory_is_usable_than_published():
    for gpu in gpus.GPUS.values():
        assert 0.85 < gpu.usable * 2**30 / (gpu.memory * 1e9) < 0.98
        assert gpu.reported * 2**30 > gpu.memory * 0.97e9


def test_the_documentation_shows_the_figures_of_the_code():
    rows = doc_tables.rows_of("gpus.md", r"\w\d+(-40gb)?")
    assert [name for name, *_ in rows] == list(gpus.GPUS)
    for name, *cells, network, _ in rows:
        gpu = gpus.GPUS[name]
        in_code = [gpu.memory, gpu.reported, round(gpu.usable, 1), gpu.peak / 1e12]
        in_code += [gpu.int8 / 1e12, gpu.bandwidth / 1e9, gpu.links / 1e9]
        assert doc_tables.numbers(cells) == pytest.approx(in_code), name
        assert network == (f"{gpu.network / 1e9:.0f}" if gpu.network else "-")
