"""Model families by name, and the shapes of the published models."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import LoraConfig, ModelConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import int8
from teacherlm_jax.models.bloom import Bloom
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.opt import Opt
from teacherlm_jax.sharding import AnyMesh, Tree

FAMILIES: dict[str, type[Decoder]] = {"bloom": Bloom, "opt": Opt}


def _bloom(layers: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig("bloom", layers, width, heads, vocab_size=250_880)


def _opt(layers: int, width: int, heads: int, **fields: Any) -> ModelConfig:
    return ModelConfig("opt", layers, width, heads, vocab_size=50_272, max_positions=2048, **fields)


_BLOOM = {
    "560m": _bloom(24, 1024, 16),
    "1b1": _bloom(24, 1536, 16),
    "1b7": _bloom(24, 2048, 16),
    "3b": _bloom(30, 2560, 32),
    "7b1": _bloom(30, 4096, 32),
    "176b": _bloom(70, 14336, 112),
}

_SHAPES = {
    **{f"bloom-{size}": config for size, config in _BLOOM.items()},
    **{f"bloomz-{size}": config for size, config in _BLOOM.items()},
    "opt-125m": _opt(12, 768, 12),
    "opt-350m": _opt(24, 1024, 16, embedding_width=512, norm="after"),
    "opt-1.3b": _opt(24, 2048, 32),
    "opt-2.7b": _opt(32, 2560, 32),
    "opt-6.7b": _opt(32, 4096, 32),
    "opt-13b": _opt(40, 5120, 40),
    "opt-30b": _opt(48, 7168, 56),
    "opt-66b": _opt(64, 9216, 72),
    # For tests and first experiments: all modules of the family, small enough for any machine.
    "bloom-tiny": ModelConfig("bloom", 2, 32, 4, vocab_size=512),
    "opt-tiny": ModelConfig("opt", 2, 32, 4, vocab_size=512, max_positions=128),
    "opt-tiny-350m": ModelConfig(
        "opt", 2, 32, 4, vocab_size=512, max_positions=128, embedding_width=16, norm="after"
    ),
}

# Read-only. A ModelConfig is mutable, so use `shape` to get a copy.
SHAPES: Mapping[str, ModelConfig] = MappingProxyType(_SHAPES)


def shape(name: str, **changes: Any) -> ModelConfig:
    """Return a copy of the shape called `name` in SHAPES, with some fields changed.

    Raises UserError with all known names if there is no such shape.
    """
    if name not in SHAPES:
        raise UserError(f"unknown model {name!r}; expected one of {', '.join(SHAPES)}")
    return dataclasses.replace(SHAPES[name], **changes)


def refuse_longer(config: ModelConfig, tokens: int, subject: str, remedy: str) -> None:
    """Raise a UserError that starts with `subject` if `tokens` exceed the model's positions.

    `remedy` ends in the key or flag to lower.
    """
    if 0 < config.max_positions < tokens:
        raise UserError(
            f"{subject} {tokens} tokens, but the model has learned positions for only "
            f"{config.max_positions} tokens; {remedy}={config.max_positions} or less"
        )


def build(config: ModelConfig, rngs: nnx.Rngs, lora: LoraConfig | None = None) -> Decoder:
    """Return a model with random parameters, drawn from the stream `params` of `rngs`.

    With `lora` and a rank above 0, it has adapters.

    Raises UserError if a field of `config` has an invalid value or its sizes are incompatible.
    """
    fields.check(config, "config.model")
    if config.vocab_size < 1:
        raise UserError("config.model.vocab_size: 0; set it to the size of the vocabulary")
    return FAMILIES[config.family](config, rngs, lora if lora and lora.rank else None)


def abstract(
    config: ModelConfig, mesh: AnyMesh, lora: LoraConfig | None = None, weights: str = ""
) -> tuple[nnx.GraphDef, Tree]:
    """Return the graph and the abstract parameters of a model; see `sharding.abstract_model`.

    With the `weights` "int8", they are those of a model whose weights are quantized.
    """

    def make() -> Decoder:
        model = build(config, nnx.Rngs(0), lora)
        if weights == int8.NAME:
            model.quantize()
        return model

    return sharding.abstract_model(make, mesh)


def for_inference(config: ModelConfig, parameters: Tree) -> Tree:
    """Return abstract parameters as a model needs them that is not trained.

    All parameters but those of norms, and scales of int8 weights, are converted to the compute
    dtype wherever they are used. Stored in that dtype they give the same results, and need half of
    the memory and traffic if it is bfloat16.
    """
    dtype = jnp.dtype(config.dtype)

    def stored(path, leaf):
        exact = any("norm" in str(key.key) for key in path) or int8.is_scale(path[-1].key)
        if exact or leaf.dtype.itemsize <= dtype.itemsize:
            return leaf
        return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)

    return jax.tree_util.tree_map_with_path(stored, parameters)
