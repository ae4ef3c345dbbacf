"""The whole model against transformers' BLOOM on the same random weights, in float32."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation.engine import Engine, Request
from teacherlm_jax.generation.sampling import request_key

TOLERANCE = 1e-4


@pytest.mark.parametrize("heads", [4, 8, 12])
def test_logits_equal_those_of_transformers(bloom_pair, heads):
    pair = bloom_pair(heads)
    tokens = np.random.default_rng(0).integers(2, 96, (2, 40))
    with torch.no_grad():
        wanted = pair.theirs(torch.from_numpy(tokens)).logits.numpy()
    assert np.abs(wanted).max() > 1  # the weights are large enough for errors to show
    np.testing.assert_allclose(pair.ours(jnp.asarray(tokens)), wanted, rtol=0, atol=TOLERANCE)


def test_greedy_texts_equal_those_of_transformers(bloom_pair):
    pair = bloom_pair(4)
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=12)
    prompts = [tuple(np.random.default_rng(n).integers(2, 96, n).tolist()) for n in (3, 9, 17)]
    requests = [Request(str(n), p, request_key(0, str(n), "cot")) for n, p in enumerate(prompts)]
    engine = Engine(pair.ours, slots=2, prompt_length=20, sampling=sampling, eos_id=1)
    found = {completion.id: completion for completion in engine.generate(requests)}
    for n, prompt in enumerate(prompts):
        wanted = pair.theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
        )[0, len(prompt) :].tolist()
        assert list(found[str(n)].tokens) == [token for token in wanted if token != 1]
        assert found[str(n)].finish_reason == ("eos" if 1 in wanted else "length")
