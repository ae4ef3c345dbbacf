"""Filters and draws, compared with the processors and warpers of transformers.

Exceptions: of equal scores at the threshold of top-k, transformers keeps all, and of those at the
threshold of top-p any. Random scores without ties avoid both.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation import logit_filters as filters
from teacherlm_jax.generation.sampling import sample

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
import transformers  # noqa: E402
from transformers.generation import logits_process  # noqa: E402

ROWS, VOCABULARY, PROMPT, WIDTH, EOS = 48, 60, 3, 24, 1


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(size=(ROWS, VOCABULARY)).astype(np.float32) * 3


@pytest.fixture(scope="module")
def histories():
    """Histories of PROMPT to WIDTH tokens with many repetitions, padded with random tokens."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(PROMPT, WIDTH + 1, ROWS).astype(np.int32)
    lengths[:2] = PROMPT, WIDTH
    tokens = rng.integers(0, 4, (ROWS, WIDTH)).astype(np.int32)
    tokens[::2] = tokens[::2, np.arange(WIDTH) % 7]
    return tokens, lengths


def processed(processor, scores, histories):
    """Return the scores that a processor makes of each row with its own history."""
    tokens, lengths = histories
    rows = [
        processor(torch.from_numpy(tokens[row : row + 1, :length]).long(), torch.from_numpy(of_row))
        for row, (length, of_row) in enumerate(zip(lengths, scores[:, None].copy(), strict=True))
    ]
    return torch.cat(rows).numpy()


def jitted(function, *arrays, **settings):
    return np.asarray(jax.jit(functools.partial(function, **settings))(*arrays))


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_penalty_of_repetitions_is_that_of_transformers(scores, histories, penalty):
    processor = logits_process.RepetitionPenaltyLogitsProcessor(penalty)
    actual = jitted(filters.penalize_repetition, scores, *histories, penalty=penalty)
    np.testing.assert_allclose(actual, processed(processor, scores, histories), rtol=1e-6)
    assert (actual != scores).any(axis=1).all()


@pytest.mark.parametrize("size", [1, 2, 3, 5, WIDTH, WIDTH + 1])
def test_the_excluded_ngrams_are_those_of_transformers(scores, histories, size):
    processor = logits_process.NoRepeatNGramLogitsProcessor(size)
    actual = jitted(filters.exclude_repeated_ngrams, scores, *histories, size=size)
    np.testing.assert_array_equal(actual, processed(processor, scores, histories))
    assert (actual == -np.inf).any() == (size < WIDTH)


def test_the_least_length_is_that_of_transformers(scores, histories):
    lengths = histories[1]
    processor = logits_process.MinNewTokensLengthLogitsProcessor(PROMPT, 8, EOS)
    actual = jitted(filters.exclude_early_end, scores, lengths - PROMPT, eos_id=EOS, minimum=8)
    np.testing.assert_array_equal(actual, processed(processor, scores, histories))
    assert 0 < (actual == -np.inf).sum() < ROWS


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.99])
def test_the_nucleus_is_that_of_transformers(scores, histories, top_p):
    expected = processed(logits_process.TopPLogitsWarper(top_p), scores, histories)
    np.testing.assert_array_equal(jitted(filters.keep_nucleus, scores, top_p=top_p), expected)
    highest, tokens = (np.asarray(array) for array in jax.lax.top_k(scores, VOCABULARY))
    actual = jitted(filters.keep_sorted_nucleus, highest, top_p=top_p)
    np.testing.assert_array_equal(actual, np.take_along_axis(expected, tokens, axis=1))


@pytest.mark.parametrize("count", [1, 10, VOCABULARY, VOCABULARY + 5])
def test_the_most_likely_tokens_are_those_of_transformers(scores, histories, count):
    expected = processed(logits_process.TopKLogitsWarper(count), scores, histories)
    highest, tokens = jax.jit(filters.most_likely, static_argnums=1)(scores, count)
    actual = np.full_like(scores, -np.inf)
    np.put_along_axis(actual, np.asarray(tokens), np.asarray(highest), axis=1)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("min_p", [0.001, 0.1, 0.5, 1.0])
def test_the_threshold_below_the_most_likely_token_is_that_of_transformers(
    scores, histories, min_p
):
    expected = processed(logits_process.MinPLogitsWarper(min_p), scores, histories)
    np.testing.assert_array_equal(jitted(filters.exclude_unlikely, scores, min_p=min_p), expected)


@pytest.fixture(scope="module")
def processors():
    """Function that returns what transformers does with settings, in its own order."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "ffn_dim": 8}
    model = transformers.OPTForCausalLM(
        transformers.OPTConfig(vocab_size=VOCABULARY, word_embed_proj_dim=8, **sizes)
    )

    def of(config: SamplingConfig):
        settings = transformers.GenerationConfig(
            do_sample=config.temperature > 0,
            temperature=config.temperature or None,
            top_k=config.top_k,
            top_p=config.top_p,
            min_p=config.min_p or None,
            repetition_penalty=config.repetition_penalty,
            no_repeat_ngram_size=config.no_repeat_ngram,
            min_new_tokens=config.min_new_tokens,
            eos_token_id=EOS,
        )
        model._prepare_special_tokens(settings, device=torch.device("cpu"))
        return model._get_logits_processor(settings, input_ids_seq_length=PROMPT)

    return of


NEAR_ONE = {"temperature": 0.9, "top_p": 1.0, "top_k": 0}
EVERYTHING = {
    "temperature": 1.7,
    "top_k": 20,
    "top_p": 0.8,
    "min_p": 0.2,
    "repetition_penalty": 1.8,
    "no_repeat_ngram": 2,
    "min_new_tokens": 9,
}


@pytest.mark.parametrize(
    "settings",
    [
        NEAR_ONE,
        NEAR_ONE | {"repetition_penalty": 1.8, "no_repeat_ngram": 2},
        NEAR_ONE | {"top_p": 0.7, "min_p": 0.3, "temperature": 2.5},
        NEAR_ONE | {"top_p": 0.5, "no_repeat_ngram": 1, "min_new_tokens": 9},
        {"temperature": 0.0, "repetition_penalty": 3.0, "no_repeat_ngram": 2, "min_new_tokens": 9},
        EVERYTHING,
        EVERYTHING | {"top_k": 0},
        EVERYTHING | {"top_p": 1.0},
    ],
)
def test_draws_follow_all_processors_of_transformers_in_its_order(
    scores, histories, processors, settings
):
    """Draws are the most likely tokens after adding the same Gumbel noise to those scores."""
    config = SamplingConfig(**settings)
    scores = scores.copy()
    scores[:, :4] += 3  # tokens of the histories, and the end
    expected = processed(processors(config), scores, histories)
    keys = np.random.default_rng(2).integers(0, 2**32, (ROWS, 2), dtype=np.uint32)
    tokens, lengths = histories
    draw = functools.partial(sample, config=config, eos_id=EOS)
    drawn = jax.jit(draw)(scores, keys, lengths - PROMPT, tokens=tokens, lengths=lengths)
    for row in range(ROWS):
        order = np.arange(VOCABULARY)
        if config.top_k:  # the noise is that of the tokens in order of likelihood
            order = np.argsort(-expected[row], kind="stable")[: config.top_k]
        noise = np.zeros(len(order))
        if config.temperature:
            key = jax.random.wrap_key_data(jnp.asarray(keys[row]), impl="threefry2x32")
            folded = jax.random.fold_in(key, int(lengths[row]) - PROMPT)
            noise = np.asarray(jax.random.gumbel(folded, (len(order),)))
        assert int(drawn[row]) == order[np.argmax(expected[row][order] + noise)]
