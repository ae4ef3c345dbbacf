"""Sampling of the next token: a pure function of a row's own logits, key and counter."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, Shaped, UInt32

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation import logit_filters as filters


def request_key(seed: int, sample_id: str, kind: str) -> UInt32[np.ndarray, "2"]:
    """Return the random key of one text: 64 bits of the SHA-256 of (seed, sample id, kind)."""
    digest = hashlib.sha256(json.dumps([int(seed), sample_id, kind]).encode()).digest()
    return np.frombuffer(digest[:8], dtype=">u4").astype(np.uint32)


def needs_history(config: SamplingConfig) -> bool:
    """Return whether `sample` needs prompts and texts so far, its arguments `tokens`, `lengths`."""
    return config.repetition_penalty != 1 or config.no_repeat_ngram > 0


def sample(
    logits: Float32[Array, "B V"],
    keys: UInt32[Array, "B 2"],
    counters: Int[Array, " B"],
    config: SamplingConfig,
    *,
    eos_id: int,
    tokens: Int[Array, "B S"] | None = None,
    lengths: Int[Array, " B"] | None = None,
) -> Int[Array, " B"]:
    """Return the next token of each row, int32.

    The settings are applied in the order of Hugging Face Transformers: `repetition_penalty`,
    `no_repeat_ngram`, `min_new_tokens`, `temperature`, `top_k`, `top_p`, `min_p`. Each filter acts
    on the tokens that are left. With temperature 0 the most likely token is taken, so the last
    three change nothing. A text ends if every token is excluded.

    Args:
        logits: of each row; -inf excludes a token.
        keys: a key for each row, see `request_key`.
        counters: position of the token in its text, from 0; with the key it determines the draw.
        config: settings of the sampling.
        eos_id: token that ends a text.
        tokens: prompt and text so far of each row, with any padding on the right.
        lengths: number of tokens in each row of `tokens` without padding.

    Raises:
        ValueError: `tokens` or `lengths` are missing, but `needs_history(config)` is true.
    """
    scores = logits
    if needs_history(config):
        if tokens is None or lengths is None:
            raise ValueError("repetition_penalty and no_repeat_ngram need tokens and lengths")
        scores = _history_filters(scores, tokens, lengths, config)
    if config.min_new_tokens:
        scores = filters.exclude_early_end(scores, counters, eos_id, config.min_new_tokens)
    if config.temperature == 0:
        kept, choice = None, jnp.argmax(scores, axis=-1)
    else:
        scores, kept = _likelihood_filters(scores / config.temperature, config)
        choice = _draw(scores, keys, counters)
    excluded = _at(scores, choice) == -jnp.inf
    drawn = choice if kept is None else _at(kept, choice)
    return jnp.where(excluded, eos_id, drawn).astype(jnp.int32)


def _history_filters(
    scores: Float32[Array, "B V"],
    tokens: Int[Array, "B S"],
    lengths: Int[Array, " B"],
    config: SamplingConfig,
) -> Float32[Array, "B V"]:
    if config.repetition_penalty != 1:
        penalty = config.repetition_penalty
        scores = filters.penalize_repetition(scores, tokens, lengths, penalty)
    if config.no_repeat_ngram:
        size = config.no_repeat_ngram
        scores = filters.exclude_repeated_ngrams(scores, tokens, lengths, size)
    return scores


def _likelihood_filters(
    scores: Float32[Array, "B V"], config: SamplingConfig
) -> tuple[Float32[Array, "B K"], Int[Array, "B K"] | None]:
    """Return the scores that `top_k`, `top_p` and `min_p` leave, and their tokens; None: all."""
    tokens = None
    if config.top_k:
        scores, tokens = filters.most_likely(scores, config.top_k)
    if config.top_p < 1:
        keep = filters.keep_nucleus if tokens is None else filters.keep_sorted_nucleus
        scores = keep(scores, config.top_p)
    if config.min_p:
        scores = filters.exclude_unlikely(scores, config.min_p)
    return scores, tokens


def _draw(
    scores: Float32[Array, "B K"], keys: UInt32[Array, "B 2"], counters: Int[Array, " B"]
) -> Int[Array, " B"]:
    # The generator is named because the environment can set another default with larger keys.
    wrapped = jax.random.wrap_key_data(keys, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in)(wrapped, counters)
    return jax.vmap(jax.random.categorical)(keys, scores)


def _at(values: Shaped[Array, "B K"], columns: Int[Array, " B"]) -> Shaped[Array, " B"]:
    return jnp.take_along_axis(values, columns[:, None], axis=1)[:, 0]
