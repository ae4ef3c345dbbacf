"""Weights in int8: their values, what models compute with them, and their memory and sharding."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh

from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import LoraConfig, MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import adapter, int8, registry
from tests.test_sharding import GOLDEN

SHAPES = {
    "bloom": ("bloom-tiny", {}),
    "opt, untied": ("opt-tiny", {"tied": False}),
    "opt-350m": ("opt-tiny-350m", {}),
}


def one_device():
    return sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])


def make(shape, mesh, lora=None, **changes):
    """Return (graph, parameters) of a model, and of the same one in int8."""
    name, own = SHAPES[shape]
    config = registry.shape(name, initializer_range=0.1, **{"dtype": "float32"} | own | changes)
    graph, abstract = registry.abstract(config, mesh, lora)
    model = registry.build(config, nnx.Rngs(0), lora)

    def placed():
        parameters = nnx.to_pure_dict(nnx.state(model))
        copied = jax.tree.map(jnp.array, parameters)
        return jax.tree.map(lambda array, like: jax.device_put(array, like.sharding),
                            copied, abstract)  # fmt: skip

    quantized_graph, in_int8 = registry.abstract(config, mesh, lora, weights="int8")
    in_int8 = registry.for_inference(config, in_int8)
    return (graph, placed()), (quantized_graph, int8.quantized(placed(), in_int8))


def dequantized(parameters):
    """Return the parameters of the model without int8 that has the values of these."""
    whole = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            whole[name] = dequantized(value)
        elif f"{name}_scale" in parameters:
            whole[name] = int8.dequantized(value, parameters[f"{name}_scale"])
        elif not name.endswith("_scale"):
            whole[name] = value
    return whole


def logits(graph, parameters, mesh):
    tokens = jax.random.randint(jax.random.key(1), (8, 12), 2, 500)
    with jax.set_mesh(mesh):
        return np.asarray(nnx.merge(graph, parameters)(tokens), np.float32)


def size(parameters):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(parameters))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("devices", [1, 8])
def test_the_logits_are_those_of_the_dequantized_weights(shape, devices):
    mesh = one_device() if devices == 1 else sharding.make_mesh(MeshConfig(2, 2, 2))
    (graph, exact), (in_int8, parameters) = make(shape, mesh)
    actual = logits(in_int8, parameters, mesh)
    expected = logits(graph, dequantized(parameters), mesh)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)
    off = np.abs(actual - logits(graph, exact, mesh)).max()
    assert 1e-3 < off < 0.03 * np.abs(actual).max()


def test_in_bfloat16_the_logits_are_rounded_like_those_of_the_dequantized_weights():
    mesh = one_device()
    (graph, exact), (in_int8, parameters) = make("bloom", mesh, dtype="bfloat16")
    reference = logits(make("bloom", mesh)[0][0], dequantized(parameters), mesh)
    actual = np.abs(logits(in_int8, parameters, mesh) - reference).max()
    rounding = np.abs(logits(graph, dequantized(parameters), mesh) - reference).max()
    assert actual <= 2 * rounding
    assert parameters["blocks"]["up"]["bias"].dtype == jnp.float32 == exact["embedding"].dtype


def test_a_weight_is_off_by_at_most_half_a_scale_which_is_of_its_output_channel():
    _, (_, parameters) = make("bloom", one_device())
    (_, exact), _ = make("bloom", one_device())
    kernels = {
        "query_key_value": (1,),
        "attention_output": (1, 2),
        "up": (1,),
        "down": (1,),
    }
    pairs = [(parameters["blocks"][name], exact["blocks"][name]["kernel"], axes)
             for name, axes in kernels.items()]  # fmt: skip
    tables = {"kernel": parameters["embedding"], "kernel_scale": parameters["embedding_scale"]}
    for quantized, kernel, inputs in [*pairs, (tables, exact["embedding"], (1,))]:
        scale, kernel = np.asarray(quantized["kernel_scale"]), np.asarray(kernel)
        largest = np.abs(kernel).max(axis=inputs, keepdims=True)
        np.testing.assert_allclose(scale, largest / 127.5, rtol=1e-6)
        off = np.abs(np.asarray(quantized["kernel"], np.float32) * scale - kernel)
        assert (off <= scale * 0.5001).all() and off.max() > 0.4 * scale.max()


def test_a_row_of_zeros_stays_zero():
    values, scale = int8.quantize(jnp.zeros((3, 8)).at[1].set(2.0), (3, 1))
    np.testing.assert_array_equal(int8.dequantized(values, scale)[0], np.zeros(8))
    np.testing.assert_allclose(int8.dequantized(values, scale)[1], 2.0, rtol=0.005)


@pytest.mark.parametrize("shape", ["bloom", "opt, untied"])
def test_the_arrays_of_a_model_take_a_quarter_of_their_bytes_in_float32(shape):
    (_, exact), (_, parameters) = make(shape, one_device(), width=128, heads=4, layers=1)
    assert 0.25 < size(parameters) / size(exact) < 0.3


@pytest.mark.parametrize("name", ["bloom-560m", "bloom-7b1", "opt-350m", "opt-6.7b"])
def test_published_models_take_half_of_bfloat16_and_a_quarter_of_float32(name):
    config = registry.shape(name, dtype="bfloat16")
    needed = {}
    for weights in ("", "int8"):
        _, whole = registry.abstract(config, one_device(), weights=weights)
        for kind, tree in (("float32", whole), ("bfloat16", registry.for_inference(config, whole))):
            needed[weights, kind] = capacity.bytes_per_device(tree)
    in_int8 = needed["int8", "bfloat16"]
    assert 0.5 < in_int8 / needed["", "bfloat16"] < 0.51
    assert 0.25 < in_int8 / needed["", "float32"] < 0.255


def test_the_arrays_that_become_int8_are_freed():
    config, mesh = registry.shape("bloom-tiny"), one_device()
    before = nnx.to_pure_dict(nnx.state(registry.build(config, nnx.Rngs(0))))
    int8.quantized(before, registry.abstract(config, mesh, weights="int8")[1])
    assert before["embedding"].is_deleted() and before["blocks"]["up"]["kernel"].is_deleted()
    assert not before["final_norm"]["scale"].is_deleted()


def test_adapters_are_added_to_a_base_in_int8():
    lora, mesh = LoraConfig(rank=4), one_device()
    (graph, exact), _ = make("bloom", mesh, lora)
    _, adapters = adapter.split(exact)
    drawn = jax.tree.map(lambda a: 0.1 * jax.random.normal(jax.random.key(a.size), a.shape),
                         adapters)  # fmt: skip
    _, (in_int8, parameters) = make("bloom", mesh, lora)
    base, _ = adapter.split(parameters)
    actual = logits(in_int8, adapter.joined(base, drawn), mesh)
    expected = logits(graph, adapter.joined(dequantized(base), drawn), mesh)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)
    assert np.abs(actual - logits(in_int8, parameters, mesh)).max() > 0.1


def test_values_are_sharded_like_their_kernel_and_scales_like_its_outputs():
    config, mesh = registry.shape("bloom-7b1"), AbstractMesh((2, 8, 4), sharding.MESH_AXES)

    def build():
        model = registry.build(config, nnx.Rngs(0))
        model.quantize()
        return model

    actual = sharding.describe(nnx.split(nnx.eval_shape(build))[1], mesh)
    scaled = [line for line in actual.splitlines(True) if "kernel" in line or "embedding" in line]
    assert "".join(scaled) == (GOLDEN / "bloom-7b1_int8_2x8x4.txt").read_text(encoding="utf-8")


def test_a_model_that_is_not_quantized_has_no_scale():
    graph, parameters = registry.abstract(registry.shape("opt-tiny"), one_device())
    assert "scale" not in str(jax.tree.structure(parameters["blocks"]["up"]))
    assert not nnx.merge(graph, parameters).quantized


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(UserError, match=r"needs the package qwix; .*requirements-int8.txt"):
        int8.quantize(jnp.ones((2, 2)), (2, 1))
