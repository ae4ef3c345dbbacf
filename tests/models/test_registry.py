"""Published shapes, and configs that are refused."""

import dataclasses
import math

import jax
import pytest
import torch
from flax import nnx
from transformers import AutoModelForCausalLM

from benchmarks import pairs
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry

GOOD = ModelConfig(layers=2, width=32, heads=4, vocab_size=64)


BLOOM = {
    "bloom-560m": 559_214_592,
    "bloom-1b1": 1_065_314_304,
    "bloom-1b7": 1_722_408_960,
    "bloom-3b": 3_002_557_440,
    "bloom-7b1": 7_069_016_064,
    "bloom-176b": 176_247_271_424,
}
PUBLISHED = BLOOM | {name.replace("bloom", "bloomz"): count for name, count in BLOOM.items()}


def _parameters(config):
    model = nnx.eval_shape(lambda: registry.build(config, nnx.Rngs(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_bloom_shapes_have_the_published_number_of_parameters(name):
    assert _parameters(registry.SHAPES[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name in registry.SHAPES if name not in PUBLISHED])
def test_other_shapes_have_as_many_parameters_as_transformers_gives_them(name):
    config = registry.SHAPES[name]
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(pairs.their_config(config))
    assert _parameters(config) == sum(parameter.numel() for parameter in theirs.parameters())


def test_every_published_size_is_in_the_registry():
    sizes = ("125m", "350m", "1.3b", "2.7b", "6.7b", "13b", "30b", "66b")
    assert {f"opt-{size}" for size in sizes} | PUBLISHED.keys() <= registry.SHAPES.keys()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("family", "gpt", "config.model.family: 'gpt' is none of 'bloom', 'opt'"),
        ("dtype", "int8", "config.model.dtype: 'int8' is none of 'bfloat16', 'float32'"),
        ("param_dtype", "f32", "config.model.param_dtype: 'f32' is none of 'float32'"),
        ("remat", "all", "config.model.remat: 'all' is none of 'none', 'dots', 'full'"),
        ("attention", "fast", "config.model.attention: 'fast' is none of 'xla'"),
        ("layers", 0, "config.model.layers: 0 is not in"),
        ("vocab_size", 0, "config.model.vocab_size: 0; a model needs"),
        ("heads", 5, "config.model.width: 32 is not divisible by heads=5"),
        ("max_positions", 9, "config.model.max_positions: 9: BLOOM has none; leave 0"),
        ("embedding_width", 9, "config.model.embedding_width: 9: BLOOM has none; leave 0"),
        ("norm", "after", "config.model.norm: 'after': BLOOM has none; leave 'before'"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_by_field(field, value, message):
    with pytest.raises(UserError, match=message):
        registry.build(dataclasses.replace(GOOD, **{field: value}), nnx.Rngs(0))


def test_opt_needs_to_know_how_many_positions_it_learns():
    with pytest.raises(UserError, match="config.model.max_positions: 0; OPT learns its positions"):
        registry.build(dataclasses.replace(GOOD, family="opt"), nnx.Rngs(0))


def test_texts_longer_than_the_learned_positions_are_refused():
    registry.refuse_longer(registry.SHAPES["bloom-560m"], 10**6, "config.length:")
    registry.refuse_longer(registry.SHAPES["opt-125m"], 2048, "config.length:")
    with pytest.raises(UserError, match="config.length: 2049 tokens, but .* for 2048 and no more"):
        registry.refuse_longer(registry.SHAPES["opt-125m"], 2049, "config.length:")


def test_the_same_seed_gives_the_same_parameters_and_another_gives_others():
    first, again, other = (
        jax.tree.leaves(nnx.state(registry.build(GOOD, nnx.Rngs(seed)))) for seed in (0, 0, 1)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
