"""Sampling of the next token: a pure function of a row's own logits, key and counter."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, UInt32

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation import logit_filters as filters


def request_key(seed: int, sample_id: str, kind: str) -> UInt32[np.ndarray, "2"]:
    """Return the random key of one text: 64 bits of the SHA-256 of (seed, sample id, kind)."""
    digest = hashlib.sha256(json.dumps([seed, sample_id, kind]).encode()).digest()
    return np.frombuffer(digest[:8], dtype=">u4").astype(np.uint32)


def sample(
    logits: Float32[Array, "B V"],
    keys: UInt32[Array, "B 2"],
    counters: Int[Array, " B"],
    config: SamplingConfig,
) -> Int[Array, " B"]:
    """Return the next token of each row, int32.

    The temperature is applied first, then `top_k`, then `top_p` to the remaining tokens: it keeps
    the smallest set of most likely tokens that reaches that probability (nucleus sampling, arXiv
    1904.09751).

    Args:
        logits: of each row; -inf excludes a token.
        keys: a key for each row, see `request_key`.
        counters: position of the token in its text, from 0; with the key it determines the draw.
        config: settings of the sampling.
    """
    if config.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    scores, tokens = logits / config.temperature, None
    if config.top_k:
        scores, tokens = filters.most_likely(scores, config.top_k)
    if config.top_p < 1:
        keep = filters.keep_nucleus if tokens is None else filters.keep_sorted_nucleus
        scores = keep(scores, config.top_p)
    # The generator is named because the environment can set another default with larger keys.
    wrapped = jax.random.wrap_key_data(keys, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in)(wrapped, counters)
    drawn = jax.vmap(jax.random.categorical)(keys, scores)
    if tokens is not None:
        drawn = jnp.take_along_axis(tokens, drawn[:, None], axis=-1)[:, 0]
    return drawn.astype(jnp.int32)
