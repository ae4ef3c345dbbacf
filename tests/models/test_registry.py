"""Published shapes, and invalid configs."""

import dataclasses
import math

import jax
import pytest
from flax import nnx
from transformers import OPTConfig, OPTForCausalLM

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


# Values of facebook's config.json files: layers, width, heads, and keys without default values.
OPT: dict[str, dict[str, object]] = {
    "opt-125m": {"sizes": (12, 768, 12)},
    "opt-350m": {
        "sizes": (24, 1024, 16),
        "word_embed_proj_dim": 512,
        "do_layer_norm_before": False,
    },
    "opt-1.3b": {"sizes": (24, 2048, 32)},
    "opt-2.7b": {"sizes": (32, 2560, 32)},
    "opt-6.7b": {"sizes": (32, 4096, 32)},
    "opt-13b": {"sizes": (40, 5120, 40)},
    "opt-30b": {"sizes": (48, 7168, 56)},
    "opt-66b": {"sizes": (64, 9216, 72)},
}


@pytest.mark.parametrize("name", OPT)
def test_opt_shapes_have_as_many_parameters_as_in_transformers(name, torch):
    (layers, width, heads), shape = OPT[name]["sizes"], registry.SHAPES[name]
    options = {key: value for key, value in OPT[name].items() if key != "sizes"}
    published = OPTConfig(
        vocab_size=50_272,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        ffn_dim=4 * width,
        max_position_embeddings=2048,
        **options,
    )
    with torch.device("meta"):
        reference = OPTForCausalLM(published)
    assert _parameters(shape) == sum(parameter.numel() for parameter in reference.parameters())
    assert (shape.layers, shape.width, shape.heads) == (layers, width, heads)


def test_every_shape_is_published_or_small():
    small = {"bloom-tiny", "opt-tiny", "opt-tiny-350m"}
    assert registry.SHAPES.keys() == PUBLISHED.keys() | OPT.keys() | small
    for name in small:
        assert _parameters(registry.SHAPES[name]) < 60_000


def test_changing_a_copy_of_a_shape_does_not_change_the_registry():
    copy = registry.shape("bloom-560m", remat="full")
    copy.layers = 2
    assert (copy.remat, registry.SHAPES["bloom-560m"].layers) == ("full", 24)
    assert registry.shape("bloomz-560m").layers == 24
    with pytest.raises(UserError, match="unknown model 'bloom-560'; expected one of bloom-560m"):
        registry.shape("bloom-560")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("family", "gpt", "config.model.family: expected one of 'bloom', 'opt', got 'gpt'"),
        ("dtype", "int8", "config.model.dtype: expected one of 'bfloat16', 'float32'"),
        ("param_dtype", "f32", "config.model.param_dtype: expected one of 'float32'"),
        ("remat", "all", "config.model.remat: expected one of 'none', 'dots', 'full'"),
        ("attention", "fast", "config.model.attention: expected one of 'xla'"),
        ("layers", 0, "config.model.layers: 0 is not in"),
        ("vocab_size", 0, "config.model.vocab_size: 0; set it to the size of the vocabulary"),
        ("heads", 5, "config.model.width: 32 is not divisible by heads=5"),
        ("max_positions", 9, "config.model.max_positions: 9 is for OPT only; leave it at 0"),
        ("embedding_width", 9, "config.model.embedding_width: 9 is for OPT only; leave it at 0"),
        ("norm", "after", "config.model.norm: 'after' is for OPT only; leave it at 'before'"),
    ],
)
def test_an_invalid_config_is_refused_by_field(field, value, message):
    with pytest.raises(UserError, match=message):
        registry.build(dataclasses.replace(GOOD, **{field: value}), nnx.Rngs(0))


def test_opt_requires_its_number_of_learned_positions():
    with pytest.raises(UserError, match="config.model.max_positions: 0; OPT learns positions"):
        registry.build(dataclasses.replace(GOOD, family="opt"), nnx.Rngs(0))


def test_texts_longer_than_the_learned_positions_are_refused():
    registry.refuse_longer(registry.SHAPES["bloom-560m"], 10**6, "config.length:", "set it")
    registry.refuse_longer(registry.SHAPES["opt-125m"], 2048, "config.length:", "set it")
    with pytest.raises(UserError, match="config.length: 2049 tokens, but .* for only 2048 tokens"):
        registry.refuse_longer(registry.SHAPES["opt-125m"], 2049, "config.length:", "set it")


def test_parameters_depend_on_the_seed_only():
    first, again, other = (
        jax.tree.leaves(nnx.state(registry.build(GOOD, nnx.Rngs(seed)))) for seed in (0, 0, 1)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
