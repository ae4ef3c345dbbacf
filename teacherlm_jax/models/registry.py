"""Model families by name, and the shapes of the published models."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flax import nnx

from teacherlm_jax.config import ModelConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.models.bloom import Bloom
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.models.opt import Opt

FAMILIES: dict[str, type[Decoder]] = {"bloom": Bloom, "opt": Opt}


def _bloom(layers: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig("bloom", layers, width, heads, vocab_size=250_880)


def _opt(layers: int, width: int, heads: int, **more: Any) -> ModelConfig:
    return ModelConfig("opt", layers, width, heads, vocab_size=50_272, max_positions=2048, **more)


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
    # For tests and first tries: every part of its family, in a second on any machine.
    "bloom-tiny": ModelConfig("bloom", 2, 32, 4, vocab_size=512),
    "opt-tiny": ModelConfig("opt", 2, 32, 4, vocab_size=512, max_positions=128),
    "opt-tiny-350m": ModelConfig(
        "opt", 2, 32, 4, vocab_size=512, max_positions=128, embedding_width=16, norm="after"
    ),
}

# To look at. Configs can be changed, and these are everybody's: take one with `shape`.
SHAPES: Mapping[str, ModelConfig] = MappingProxyType(_SHAPES)


def shape(name: str, **changes: Any) -> ModelConfig:
    """A config of the shape that SHAPES has under this name, with some fields changed.

    It is the caller's own. Raises UserError, with the names there are, for another one.
    """
    if name not in SHAPES:
        raise UserError(f"no model is named {name!r}; known: {', '.join(SHAPES)}")
    return dataclasses.replace(SHAPES[name], **changes)


def refuse_longer(config: ModelConfig, tokens: int, what: str) -> None:
    """Raises a UserError that begins with `what` unless the model can read texts so long."""
    if 0 < config.max_positions < tokens:
        raise UserError(
            f"{what} {tokens} tokens, but the model has learned positions for "
            f"{config.max_positions} and no more; keep texts that short"
        )


def build(config: ModelConfig, rngs: nnx.Rngs) -> Decoder:
    """A model with random parameters, drawn from the stream `params` of `rngs`.

    Raises:
      UserError: a field of `config` names nothing we have, or its sizes do not fit together.
    """
    fields.check(config, "config.model")
    if config.vocab_size < 1:
        raise UserError("config.model.vocab_size: 0; a model needs the size of its vocabulary")
    return FAMILIES[config.family](config, rngs)
