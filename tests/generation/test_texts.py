"""Texts of many prompts: groups by length, their memory, and reproducibility."""

import dataclasses
from collections import Counter

import jax
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.generation.texts import LengthGroup, length_groups

SAMPLING = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=6)
PROMPTS = ["abc", "abcd", "a", "bb", "ccc", "dddd", "ab", "ba", "cd", "xyz" * 20]


@pytest.fixture(scope="module")
def loaded(load):
    return load()


@pytest.mark.parametrize(
    ("lengths", "slots", "new", "shards", "expected"),
    [
        ([], 4, 8, 1, []),
        ([5] * 9, 4, 8, 1, [LengthGroup(5, 4)]),
        ([5] * 3, 64, 8, 1, [LengthGroup(5, 3)]),  # no more slots than prompts
        ([5] * 3, 64, 8, 2, [LengthGroup(5, 4)]),
        ([5] * 9 + [11], 4, 8, 1, [LengthGroup(11, 4)]),  # 19 entries are not over 1.5 × 13
        ([5] * 9 + [12], 4, 8, 1, [LengthGroup(5, 4), LengthGroup(12, 1)]),
        ([5] * 90 + [18] * 9 + [44], 8, 8, 1,
         [LengthGroup(5, 8), LengthGroup(18, 4), LengthGroup(44, 1)]),
        ([5] * 90 + [18] * 9 + [44], 8, 8, 4,
         [LengthGroup(5, 8), LengthGroup(18, 4), LengthGroup(44, 4)]),
        ([10] * 20 + [1000], 64, 8, 1, [LengthGroup(10, 20), LengthGroup(1000, 1)]),
    ],
)  # fmt: skip
def test_long_prompts_form_groups_with_fewer_slots(lengths, slots, new, shards, expected):
    assert length_groups(Counter(lengths), slots, new, shards) == expected


def test_no_group_has_a_larger_cache_than_typical_prompts_unless_it_has_one_slot():
    lengths = [*range(20, 60), 70, 90, 200, 250, 400]
    first, *others = length_groups(Counter(lengths), 16, 10)
    for group in others:
        assert group.slots == 1 or group.slots * (group.longest + 10) <= 16 * (first.longest + 10)
    assert sum(length <= first.longest for length in lengths) >= 0.9 * len(lengths)
    assert max(lengths) == others[-1].longest


def _requests(loaded, prompts=PROMPTS):
    return [
        GenerationRequest(prompt, loaded.vocabulary.encode(prompt), request_key(0, prompt, "cot"))
        for prompt in prompts
    ]


def test_texts_do_not_depend_on_the_groups(loaded, monkeypatch):
    engines = []

    class RecordingEngine(Engine):
        def __init__(self, model, **settings):
            engines.append((settings["prompt_length"], settings["slots"]))
            super().__init__(model, **settings)

    monkeypatch.setattr(texts, "Engine", RecordingEngine)
    actual = {
        text.id: text for text in texts.complete(loaded, _requests(loaded), SAMPLING, slots=2)
    }
    assert engines == [(4, 2), (60, 1)]
    vocabulary = loaded.vocabulary
    engine = Engine(
        loaded.model,
        slots=2,
        prompt_length=60,
        sampling=SAMPLING,
        eos_id=vocabulary.eos_id,
        drawable=vocabulary.drawable(),
    )
    assert actual == {text.id: text for text in engine.generate(_requests(loaded))}


def test_a_stream_is_read_as_slots_become_free_and_long_prompts_wait_for_each_other(loaded):
    prompts = [f"{chr(97 + n)}{'ab' * (20 if n % 5 == 4 else 1)}" for n in range(25)]
    requests = _requests(loaded, prompts)
    expected = {t.id: t for t in texts.complete(loaded, requests, SAMPLING, slots=1)}
    read, done = [], {}

    def stream():
        for request in requests:
            read.append(request.id)
            yield request

    lengths = Counter(len(request.tokens) for request in requests)
    for text in texts.complete(loaded, stream(), SAMPLING, slots=1, lengths=lengths):
        assert len(read) - len(done) <= 8 + 3, "few requests are held at a time"
        done[text.id] = text
    assert done == expected


def test_the_text_of_a_prompt_does_not_depend_on_other_prompts(loaded):
    every = texts.generate(loaded, PROMPTS[:3], SAMPLING, seed=3, slots=2)
    assert every == texts.generate(loaded, PROMPTS[:3], SAMPLING, seed=3, slots=2)
    assert texts.generate(loaded, [PROMPTS[2], PROMPTS[0]], SAMPLING, seed=3, slots=2) == [
        every[2],
        every[0],
    ]
    assert texts.generate(loaded, PROMPTS[:3], SAMPLING, seed=4, slots=2) != every
    twice = texts.generate(loaded, ["a", "a"], SAMPLING, seed=3, slots=2)
    assert twice[0] == every[2] != twice[1]
    assert texts.generate(loaded, [], SAMPLING) == []


def test_generate_uses_the_mesh_that_the_model_was_loaded_for(loaded):
    alone = texts.generate(loaded, ["abc", "d"], SAMPLING, slots=2)
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=1, tensor=1), jax.devices()[:2])
    graph, state = nnx.split(loaded.model)
    placed = jax.device_put(state, sharding.state_shardings(state, mesh))
    model = dataclasses.replace(loaded, model=nnx.merge(graph, placed))
    assert texts.generate(model, ["abc", "d"], SAMPLING, slots=2) == alone
    with pytest.raises(UserError, match=r"config\.slots=1: expected a positive multiple of 2"):
        texts.generate(model, ["abc"], SAMPLING, slots=1)


def test_prompts_beyond_the_learned_positions_are_refused_by_id(load):
    opt = load("opt", max_positions=20)
    assert texts.longest_prompt(20, SAMPLING) == 14
    assert texts.longest_prompt(0, SAMPLING) == 0
    with pytest.raises(UserError, match="request abc.*: its prompt has 15 tokens.* room for 14;"):
        list(texts.complete(opt, _requests(opt, ["a", "abc" * 5]), SAMPLING, slots=2))
    with pytest.raises(UserError, match="positions for 6 tokens, .*lower it to less than 6"):
        texts.longest_prompt(6, SAMPLING)
    assert texts.longest_prompt(6, SamplingConfig(max_new_tokens=5)) == 1


def test_a_text_is_truncated_before_the_first_stop_string(loaded):
    longer = dataclasses.replace(SAMPLING, max_new_tokens=24)
    whole = texts.generate(loaded, PROMPTS[:3], longer, slots=2)
    stop = max(whole, key=len)[3:5]  # of two tokens
    assert len(stop) == 2
    stopped = texts.generate(
        loaded, PROMPTS[:3], dataclasses.replace(longer, stop=("no such text", stop)), slots=2
    )
    assert stopped == [text.partition(stop)[0] for text in whole]
    assert min(map(len, stopped)) <= 3


def test_settings_that_depend_on_the_text_so_far_reach_the_sampling(loaded):
    """With no repeated token, 26 letters and the end are the whole text."""
    settings = SamplingConfig(
        temperature=0.0, no_repeat_ngram=1, min_new_tokens=20, max_new_tokens=40
    )
    (text,) = texts.generate(loaded, ["abc"], settings, slots=1)
    assert len(text) >= 20
    assert len(set("abc" + text)) == len("abc" + text)


def test_long_and_short_prompts_that_depend_on_completions_are_generated_too(loaded):
    expected = {
        text.id: text for text in texts.complete(loaded, _requests(loaded), SAMPLING, slots=2)
    }
    requests = _requests(loaded)
    ready, later = [requests[0], requests[-1]], requests[1:-1]

    class Fed:
        def __iter__(self):
            return self

        def __next__(self):
            if not ready:
                raise StopIteration
            return ready.pop(0)

    lengths = Counter(len(request.tokens) for request in requests)
    actual = {}
    for text in texts.complete(loaded, Fed(), SAMPLING, slots=2, lengths=lengths):
        actual[text.id] = text
        if text.id == requests[-1].id:  # the only long one, which is generated last
            ready += later
    assert actual == expected
