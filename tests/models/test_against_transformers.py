"""Both families against transformers on the same random weights, in float32 unless it says so."""

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
    """Hidden states of the inputs of all layers [L B T D], and logits."""
    arrays = (jnp.asarray(array, jnp.int32) for array in (tokens, positions, segment_ids))
    found = parity.our_outputs(pair.ours, *arrays)
    return found["hidden states, all layers"], found["logits"]


def _texts(*lengths):
    return [np.random.default_rng(n).integers(2, 96, n) for n in lengths]


def _alone(pair, text):
    with torch.no_grad():
        out = pair.theirs(torch.from_numpy(text)[None].long(), output_hidden_states=True)
    return torch.stack(out.hidden_states[:-1])[:, 0].numpy(), out.logits[0].numpy()


def test_every_module_and_the_whole_model_equal_those_of_transformers(pair):
    batch = parity.random_batch(pair.config, rows=2, length=LENGTH)
    rows = list(parity.compare(pair, batch))
    assert [row for row in rows if not parity.within(row, pair.config.layers)] == []
    modules = {row.module for row in rows}
    assert {"attention", "block", "hidden states, all layers", "gradients, relative"} <= modules


def test_the_comparison_sees_a_wrong_weight(pair_of):
    pair = pair_of("bloom")
    graph, state = parity.nnx.split(pair.ours)
    wrong = jax.tree.map(lambda array: array * 1.001, state)
    changed = parity.Pair(pair.config, pair.theirs, parity.nnx.merge(graph, wrong))
    batch = parity.random_batch(pair.config, rows=2, length=LENGTH)
    rows = list(parity.compare(changed, batch))
    weightless = "attention"  # every other row has weights, or stands behind some
    assert not any(parity.within(row, 3) for row in rows if row.module != weightless)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", BOTH)
def test_padded_rows_equal_those_of_transformers(pair_of, name, side):
    pair, texts = pair_of(name), _texts(3, 9, LENGTH)
    mask = np.stack([np.arange(LENGTH) < len(text) for text in texts])
    mask = mask[:, ::-1] if side == "left" else mask
    tokens = np.zeros((3, LENGTH), np.int64)
    tokens[mask] = np.concatenate(texts)
    with torch.no_grad():
        out = pair.theirs(
            torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            output_hidden_states=True,
        )
    positions = (np.cumsum(mask, axis=1) - 1) * mask
    states, logits = _outputs(pair, tokens, positions, mask)
    wanted = torch.stack(out.hidden_states[:-1]).numpy()
    np.testing.assert_allclose(logits[mask], out.logits.numpy()[mask], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(states[:, mask], wanted[:, mask], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", BOTH)
def test_a_packed_row_equals_its_texts_run_one_by_one_in_transformers(pair_of, name):
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
        here = slice(start, start := start + len(text))
        wanted_states, wanted = _alone(pair, text)
        np.testing.assert_allclose(logits[0, here], wanted, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(states[:, 0, here], wanted_states, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["bloom with 6 heads", "bloom with 12 heads", *BOTH[1:]])
def test_greedy_texts_of_64_tokens_equal_those_of_transformers(pair_of, name):
    pair = pair_of(name)
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=64)
    prompts = [tuple(text.tolist()) for text in _texts(3, 9, 17)]
    requests = [
        GenerationRequest(str(n), p, request_key(0, str(n), "cot")) for n, p in enumerate(prompts)
    ]
    no_end = [id for id in range(96) if id != 1]  # so that every text has its 64 tokens
    engine = Engine(
        pair.ours, slots=2, prompt_length=20, sampling=sampling, eos_id=1, drawable=no_end
    )
    found = {completion.id: completion for completion in engine.generate(requests)}
    said = set()
    for n, prompt in enumerate(prompts):
        wanted = pair.theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=64,
            do_sample=False,
            suppress_tokens=[1],
        )[0, len(prompt) :].tolist()
        assert list(found[str(n)].tokens) == wanted
        assert len(wanted) == 64
        said |= set(wanted)
    assert len(said) > 5, "texts that repeat themselves prove little"
