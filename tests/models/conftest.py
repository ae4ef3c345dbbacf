"""Pairs of small random models in transformers and in JAX, with the same weights."""

import functools

import pytest

from benchmarks import pairs
from teacherlm_jax.config import ModelConfig

SHAPES = {
    "bloom": ModelConfig("bloom", 3, 32, 4, initializer_range=0.2),
    "bloom with 6 heads": ModelConfig("bloom", 2, 48, 6, initializer_range=0.2),
    "bloom with 12 heads": ModelConfig("bloom", 2, 96, 12, initializer_range=0.2),
    "bloom with 16 heads": ModelConfig("bloom", 2, 128, 16, initializer_range=0.1),
    "bloom with 112 heads": ModelConfig("bloom", 1, 448, 112, initializer_range=0.05),
    "bloom with an untied head": ModelConfig("bloom", 2, 32, 4, tied=False),
    "opt": ModelConfig("opt", 3, 48, 6, max_positions=90, initializer_range=0.2),
    "opt like 350m": ModelConfig(
        "opt",
        3,
        48,
        6,
        max_positions=90,
        embedding_width=24,
        norm="after",
        initializer_range=0.2,
    ),
}


@functools.cache
def _pair(name: str) -> pairs.Pair:
    config = SHAPES[name]
    config.vocab_size, config.dtype = 96, "float32"
    return pairs.make(config)


@pytest.fixture(scope="session")
def pair_of(torch):
    """Function from a name in SHAPES to a `benchmarks.pairs.Pair`."""
    return _pair


@pytest.fixture(scope="session", params=list(SHAPES))
def pair(request, pair_of) -> pairs.Pair:
    """Pair of each shape in SHAPES."""
    return pair_of(request.param)
