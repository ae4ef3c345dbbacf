"""Published shapes, and configs that are refused."""

import dataclasses
import math

import jax
import pytest
from flax import nnx

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry

GOOD = ModelConfig(layers=2, width=32, heads=4, vocab_size=64)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bloom-560m", 559_214_592),
        ("bloom-1b1", 1_065_314_304),
        ("bloom-1b7", 1_722_408_960),
        ("bloom-3b", 3_002_557_440),
        ("bloom-7b1", 7_069_016_064),
        ("bloom-176b", 176_247_271_424),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(name, parameters):
    model = nnx.eval_shape(lambda: registry.build(registry.SHAPES[name], nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == parameters


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("family", "gpt", "config.model.family: 'gpt' is none of 'bloom'"),
        ("dtype", "int8", "config.model.dtype: 'int8' is none of 'bfloat16', 'float32'"),
        ("param_dtype", "f32", "config.model.param_dtype: 'f32' is none of 'float32'"),
        ("remat", "all", "config.model.remat: 'all' is none of 'none', 'dots', 'full'"),
        ("attention", "fast", "config.model.attention: 'fast' is none of 'xla'"),
        ("layers", 0, "config.model.layers: 0 is not in"),
        ("vocab_size", 0, "config.model.vocab_size: 0; a model needs"),
        ("heads", 5, "config.model.width: 32 is not divisible by heads=5"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_by_field(field, value, message):
    with pytest.raises(UserError, match=message):
        registry.build(dataclasses.replace(GOOD, **{field: value}), nnx.Rngs(0))


def test_the_same_seed_gives_the_same_parameters_and_another_gives_others():
    first, again, other = (
        jax.tree.leaves(nnx.state(registry.build(GOOD, nnx.Rngs(seed)))) for seed in (0, 0, 1)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
