"""FLOPs of a model, counted by hand and by XLA."""

import jax
import pytest
from flax import nnx
from jax.experimental.pallas import tpu as pltpu

from teacherlm_jax.models import registry
from teacherlm_jax.training.flops import model_flops, peak


def test_the_flops_of_a_tiny_model_are_those_counted_by_hand():
    # Width 32: a layer has 3·32² weights of queries, keys and values, 32² of their output and
    # twice 4·32² of the MLP; of two layers and a head of 512 words. Texts of 9 tokens see 5 keys
    # on average, 32 numbers each, once for scores and once for values. Backward takes it twice.
    a_token = 2 * (2 * 12 * 32 * 32 + 32 * 512) + 2 * 2 * 2 * 32 * 5
    assert model_flops(registry.shape("bloom-tiny"), 18, 9) == 3 * 18 * a_token


def test_opts_narrow_embedding_counts_its_projections():
    narrow, plain = registry.shape("opt-tiny-350m"), registry.shape("opt-tiny")
    more = 2 * (2 * 16 * 32 + 16 * 512 - 32 * 512)
    assert model_flops(narrow, 1, 8) - model_flops(plain, 1, 8) == 3 * more


@pytest.mark.parametrize(("name", "billions"), [("bloom-560m", 0.559), ("bloom-7b1", 7.07)])
def test_published_models_need_six_operations_per_parameter_and_token(name, billions):
    # Norms and biases are not counted, and are less than one percent.
    assert model_flops(registry.shape(name), 1, 0) == pytest.approx(6e9 * billions, rel=0.01)


@pytest.mark.parametrize("name", ["bloom-tiny", "opt-tiny"])
def test_xla_counts_the_same_plus_the_masked_pairs(name):
    length, rows = 128, 4
    wide = {"layers": 1, "width": 512, "heads": 4, "vocab_size": 2048, "attention": "xla"}
    config = registry.shape(name, dtype="float32", **wide)
    model = registry.build(config, nnx.Rngs(0))
    graph, params = nnx.split(model)
    tokens = jax.ShapeDtypeStruct((rows, length), "int32")
    program = jax.jit(lambda params, tokens: nnx.merge(graph, params)(tokens)).lower(params, tokens)
    masked = rows * length * 2 * 2 * 512 * (length - (length + 1) / 2)
    expected = model_flops(config, rows * length, length) / 3 + masked
    assert program.cost_analysis()["flops"] == pytest.approx(expected, rel=0.02)


def test_an_unknown_vocabulary_size_is_refused():
    with pytest.raises(ValueError, match="vocab_size: 0"):
        model_flops(registry.shape("bloom-tiny", vocab_size=0), 1, 1)


@pytest.mark.parametrize(
    ("kind", "cores"),  # cores of a device
    [
        ("TPU v4 lite", 1),
        ("TPU v4", 2),
        ("TPU v5 lite", 1),
        ("TPU v5e", 1),
        ("TPU v5", 2),
        ("TPU v5p", 2),
        ("TPU v6 lite", 1),
        ("TPU v6e", 1),
        ("TPU7x", 1),
    ],
)
def test_the_peaks_of_tpus_are_those_that_jax_knows_within_half_a_percent(kind, cores):
    device = jax.sharding.AbstractDevice(device_kind=kind, num_cores=cores, platform="tpu")
    mesh = jax.sharding.AbstractMesh((1,), ("x",), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        known = cores * pltpu.get_tpu_info().bf16_ops_per_second
    assert peak(kind) == pytest.approx(known, rel=0.005)
