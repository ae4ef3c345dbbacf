"""Comparison of both families with transformers on the same random weights, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")
from benchmarks import parity  # noqa: E402

TOLERANCE = 1e-4
LENGTH = 24
BOTH = ("bloom", "opt", "opt like 350m")


def _outputs(pair, tokens, positions, segment_ids):
    """Return the inputs of all layers [L B T D] and the logits."""
    arrays = (jnp.asarray(array, jnp.int32) for array in (tokens, positions, segment_ids))
    outputs = parity.jax_outputs(pair.model, *arrays)
    return outputs["hidden states, all layers"], outputs["logits"]


def _texts(*lengths):
    return [np.random.default_rng(n).integers(2, 96, n) for n in lengths]


def _reference_outputs(pair, text):
    with torch.no_grad():
        out = pair.reference(torch.from_numpy(text)[None].long(), output_hidden_states=True)
    return torch.stack(out.hidden_states[:-1])[:, 0].numpy(), out.logits[0].numpy()


def test_every_module_and_the_whole_model_match_transformers(pair):
    batch = parity.random_batch(pair.config, rows=2, length=LENGTH)
    rows = list(parity.compare(pair, batch))
    assert [row for row in rows if not parity.within(row, pair.config.layers)] == []
    modules = {row.module for row in rows}
    assert {"attention", "block", "hidden states, all layers", "gradients, relative"} <= modules


def test_the_comparison_detects_wrong_weights(pair_of):
    pair = pair_of("bloom")
    graph, state = parity.nnx.split(pair.model)
    wrong = jax.tree.map(lambda array: array * 1.001, state)
    changed = parity.Pair(pair.config, pair.reference, parity.nnx.merge(graph, wrong))
    batch = parity.random_batch(pair.config, rows=2, length=LENGTH)
    rows = list(parity.compare(changed, batch))
    weightless = "attention"  # every other module has weights or depends on some
    assert not any(parity.within(row, 3) for row in rows if row.module != weightless)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", BOTH)
def test_padded_rows_match_transformers(pair_of, name, side):
    pair, texts = pair_of(name), _texts(3, 9, LENGTH)
    mask = np.stack([np.arange(LENGTH) < len(text) for text in texts])
    mask = mask[:, ::-1] if side == "left" else mask
    tokens = np.zeros((3, LENGTH), np.int64)
    tokens[mask] = np.concatenate(texts)
    with torch.no_grad():
        out = pair.reference(
            torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            output_hidden_states=True,
        )
    positions = (np.cumsum(mask, axis=1) - 1) * mask
    states, logits = _outputs(pair, tokens, positions, mask)
    expected = torch.stack(out.hidden_states[:-1]).numpy()
    np.testing.assert_allclose(logits[mask], out.logits.numpy()[mask], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(states[:, mask], expected[:, mask], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", BOTH)
def test_a_packed_row_matches_its_texts_run_one_by_one_in_transformers(pair_of, name):
    pair, texts = pair_of(name), _texts(5, 1, 11)
    length = sum(map(len, texts))
    row = {
        "tokens": np.concatenate(texts),
        "positions": np.concatenate([np.arange(len(text)) for text in texts]),
        "segment_ids": np.repeat([1, 2, 3], [len(text) for text in texts]),
    }
    padded = (np.pad(array, (0, LENGTH - length))[None] for array in row.values())
    states, logits = _outputs(pair, *padded)
    start = 0
    for text in texts:
        span = slice(start, start := start + len(text))
        wanted_states, expected = _reference_outputs(pair, text)
        np.testing.assert_allclose(logits[0, span], expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(states[:, 0, span], wanted_states, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["bloom with 6 heads", "bloom with 12 heads", *BOTH[1:]])
def test_greedy_decoding_of_64_tokens_matches_transformers(pair_of, name):
    pair = pair_of(name)
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=64)
    prompts = [tuple(text.tolist()) for text in _texts(3, 9, 17)]
    requests = [
        GenerationRequest(str(n), p, request_key(0, str(n), "cot")) for n, p in enumerate(prompts)
    ]
    without_eos = [id for id in range(96) if id != 1]  # every text gets 64 tokens
    engine = Engine(
        pair.model, slots=2, prompt_length=20, sampling=sampling, eos_id=1, drawable=without_eos
    )
    completions = {completion.id: completion for completion in engine.generate(requests)}
    generated = set()
    for n, prompt in enumerate(prompts):
        expected = pair.reference.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=64,
            do_sample=False,
            suppress_tokens=[1],
        )[0, len(prompt) :].tolist()
        assert list(completions[str(n)].tokens) == expected
        assert len(expected) == 64
        generated |= set(expected)
    assert len(generated) > 5, "texts of few distinct tokens prove little"
