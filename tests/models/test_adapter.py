"""LoRA's adapters beside frozen kernels: their start, their maths and their shardings."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh

from teacherlm_jax import sharding
from teacherlm_jax.config import LoraConfig, names
from teacherlm_jax.models import adapter, registry

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TOKENS = np.random.default_rng(0).integers(0, 512, (2, 12))
SHAPES = ("bloom-tiny", "opt-tiny", "opt-tiny-350m")


def parameters(model):
    return nnx.to_pure_dict(nnx.state(model))


def models(name, lora, seed=1):
    """Return a model without adapters, one with new adapters, and one with random adapters."""
    config = registry.shape(name, dtype="float32")
    base = registry.build(config, nnx.Rngs(0))
    graph, state = nnx.split(registry.build(config, nnx.Rngs(0), lora))
    new = adapter.split(nnx.to_pure_dict(state))[1]
    fresh = nnx.merge(graph, adapter.joined(parameters(base), new))
    keys = iter(jax.random.split(jax.random.key(seed), 100))
    trained = jax.tree.map(lambda array: 0.2 * jax.random.normal(next(keys), array.shape), new)
    return base, fresh, nnx.merge(graph, adapter.joined(parameters(base), trained))


def logits(model):
    return np.asarray(jax.jit(lambda: model(jnp.asarray(TOKENS)))())


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_with_new_adapters_is_exactly_the_model_without(name):
    base, fresh, trained = models(name, LoraConfig(rank=4))
    if name == "opt-tiny-350m":  # of which XLA compiles a norm with another order of sums
        with jax.disable_jit():
            outputs = [np.asarray(model(jnp.asarray(TOKENS))) for model in (base, fresh)]
    else:
        outputs = [logits(model) for model in (base, fresh)]
    np.testing.assert_array_equal(*outputs)
    assert np.abs(logits(trained) - outputs[0]).max() > 0.01


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("target", names.LORA_TARGETS)
def test_merged_kernels_give_the_logits_of_the_adapters(name, target):
    lora = LoraConfig(rank=3, alpha=5.0, targets=(target,))
    base, _, trained = models(name, lora)
    merged = adapter.merged(*adapter.split(parameters(trained)), lora)
    expected, actual = logits(trained), logits(nnx.merge(nnx.graphdef(base), merged))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)
    assert np.abs(expected - logits(base)).max() > 1e-3
    changed = [
        path for path, same in jax.tree_util.tree_leaves_with_path(
            jax.tree.map(lambda a, b: bool((a == b).all()), parameters(base), merged)
        ) if not same
    ]  # fmt: skip
    assert [jax.tree_util.keystr(path) for path in changed] == [f"['blocks']['{target}']['kernel']"]


def test_adapters_have_a_random_a_within_its_bound_and_a_zero_b():
    _, fresh, _ = models("bloom-tiny", LoraConfig(rank=4))
    blocks = adapter.split(parameters(fresh))[1]["blocks"]
    for target, inputs in (("query_key_value", 32), ("attention_output", 32), ("down", 128)):
        a, b = (blocks[target]["adapter"][part] for part in "ab")
        assert 0.9 < np.abs(a).max() * np.sqrt(inputs) <= 1
        assert not np.any(b)


def test_the_number_of_adapter_parameters_follows_from_the_sizes():
    for targets in (names.LORA_TARGETS, ("up",), ("query_key_value", "down")):
        lora = LoraConfig(rank=6, targets=targets)
        _, fresh, _ = models("opt-tiny", lora)
        leaves = jax.tree.leaves(adapter.split(parameters(fresh))[1])
        assert sum(leaf.size for leaf in leaves) == adapter.size(32, 2, lora)


def test_a_rank_of_zero_builds_the_model_without_adapters():
    config = registry.shape("bloom-tiny")
    plain, none = (registry.build(config, nnx.Rngs(0), lora) for lora in (None, LoraConfig()))
    assert nnx.graphdef(plain) == nnx.graphdef(none)


def test_adapters_are_sharded_like_the_axes_that_they_share_with_their_kernel():
    config = registry.shape("bloom-7b1")
    model = nnx.eval_shape(lambda: registry.build(config, nnx.Rngs(0), LoraConfig(rank=16)))
    mesh = AbstractMesh((2, 8, 4), sharding.MESH_AXES)
    actual = sharding.describe(nnx.split(model)[1], mesh)
    adapters = "".join(line for line in actual.splitlines(True) if "/adapter/" in line)
    assert adapters == (GOLDEN / "bloom-7b1_lora_2x8x4.txt").read_text()
