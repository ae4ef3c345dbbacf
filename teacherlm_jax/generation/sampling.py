"""Drawing the next token. Pure; a row's draw depends on its own logits, key and counter alone."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, UInt32

from teacherlm_jax.config import SamplingConfig


def request_key(seed: int, sample_id: str, kind: str) -> UInt32[np.ndarray, "2"]:
    """The random key of one text: the first 64 bits of SHA-256 over (seed, sample id, kind)."""
    digest = hashlib.sha256(json.dumps([seed, sample_id, kind]).encode()).digest()
    return np.frombuffer(digest[:8], dtype=">u4").astype(np.uint32)


def sample(
    logits: Float32[Array, "B V"],
    keys: UInt32[Array, "B 2"],
    counters: Int[Array, "B"],
    config: SamplingConfig,
) -> Int[Array, "B"]:
    """The next token of each row, int32.

    `counters` number a row's tokens from 0: key and counter together give the row's randomness.
    The temperature comes first, then `top_k`, then `top_p` over what is left: the fewest likeliest
    tokens that reach that probability (nucleus sampling, arXiv 1904.09751).
    """
    if config.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    scores, tokens = logits / config.temperature, None
    if config.top_k or config.top_p < 1:
        vocabulary = logits.shape[-1]
        scores, tokens = jax.lax.top_k(scores, min(config.top_k or vocabulary, vocabulary))
    if config.top_p < 1:
        likelihoods = jax.nn.softmax(scores, axis=-1)
        before = jnp.cumsum(likelihoods, axis=-1) - likelihoods
        scores = jnp.where(before < config.top_p, scores, -jnp.inf)
    # Named, since the environment can choose another default, whose keys have another size.
    wrapped = jax.random.wrap_key_data(keys, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in)(wrapped, counters)
    drawn = jax.vmap(jax.random.categorical)(keys, scores)
    if tokens is not None:
        drawn = jnp.take_along_axis(tokens, drawn[:, None], axis=-1)[:, 0]
    return drawn.astype(jnp.int32)
