"""Numbers of slots, prompts and entries: windows of the cache, and the programs of a whole job."""

from collections import Counter

import numpy as np
import pytest
from flax import nnx

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.generation import engine as engine_module
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.slot_numbers import decode_window
from teacherlm_jax.generation.texts import length_groups
from teacherlm_jax.models import registry


@pytest.mark.parametrize(
    ("cache", "windows"),
    [
        (100, {100}),
        (128, {128}),
        (240, {240}),
        (370, {192, 370}),
        (484, {256, 484}),
        (661, {176, 336, 661}),
        (2056, {144, 272, 528, 1040, 2056}),
    ],
)
def test_windows_are_halves_of_the_cache(cache, windows):
    assert {decode_window(reached, cache) for reached in range(1, cache + 40)} == windows


@pytest.mark.parametrize("cache", [100, 129, 255, 256, 257, 1000, 2056, 4096])
def test_a_window_has_what_is_needed_and_at_most_twice_that(cache):
    for reached in range(1, cache + 1):
        window = decode_window(reached, cache)
        assert reached <= window <= cache
        assert window <= max(2 * reached + 32, 256)


@pytest.mark.parametrize(
    ("reads", "new", "most"),
    [(True, 64, 15), (True, 192, 15), (True, 256, 15), (False, 64, 12), (False, 256, 12)],
)
def test_prompts_of_20_to_1800_tokens_need_few_programs(monkeypatch, reads, new, most):
    # Half of the prompts have up to 150 tokens, and nine of ten up to 420: three groups.
    monkeypatch.setattr(engine_module, "reads_windows", lambda: reads)
    drawn = np.exp(np.random.default_rng(0).normal(np.log(150), 0.8, 5000)).astype(int)
    lengths = Counter({20: 1, 1800: 1}) + Counter(drawn[(drawn >= 20) & (drawn <= 1800)].tolist())
    model = registry.build(registry.shape("bloom-tiny", layers=1), nnx.Rngs(0))
    names, shorter = [], 0
    for group in length_groups(lengths, 64, new):
        own = [length for length in lengths if shorter < length <= group.longest]
        shorter = group.longest
        engine = Engine(
            model,
            slots=group.slots,
            prompt_length=group.longest,
            sampling=SamplingConfig(max_new_tokens=new),
            eos_id=1,
        )
        names += engine.program_names([length - 1 for length in own], min(own))
    assert len([name for name in names if name.startswith("prefill")]) == 9  # 7 lengths
    assert len(names) <= most
