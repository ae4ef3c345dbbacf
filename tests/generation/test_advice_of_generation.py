"""Advice in messages of the generation of texts, followed without generating any."""

import itertools
import re
import types

import jax
import numpy as np
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import requests, slot_numbers, texts
from teacherlm_jax.generation.requests import Completion, GenerationRequest


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def sampling(new_tokens):
    return SamplingConfig(max_new_tokens=new_tokens)


def test_a_prompt_has_room_with_fewer_new_tokens_than_a_message_names():
    message = refusal(texts.longest_prompt, 6, sampling(6))
    limit = int(re.search(r"lower it to less than (\d+)$", message)[1])
    assert texts.longest_prompt(6, sampling(limit - 1)) == 1


def test_texts_fit_with_the_new_tokens_that_a_message_names():
    message = refusal(slot_numbers.refuse_too_long, 40, 17, 24)
    tokens = int(re.search(r"lower it to (\d+) or less$", message)[1])
    slot_numbers.refuse_too_long(40, 17, tokens)
    assert refusal(slot_numbers.refuse_too_long, 40, 17, tokens + 1)


def test_prompts_that_fill_all_positions_are_shortened():
    assert refusal(slot_numbers.refuse_too_long, 40, 40, 1).endswith("; use shorter prompts")
    slot_numbers.refuse_too_long(40, 39, 1)


@pytest.mark.parametrize("slots", [0, 6])
def test_a_multiple_of_the_number_that_a_message_names_is_a_number_of_slots(slots):
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        message = refusal(slot_numbers.slot_shards, slots)
        shards = int(re.search(r"expected a positive multiple of (\d+), the number", message)[1])
        assert slot_numbers.slot_shards(shards) == slot_numbers.slot_shards(3 * shards) == shards


def request(name, size):
    return GenerationRequest(name, (2,) * size, np.zeros(2, np.uint32))


@pytest.mark.parametrize("length", [0, 9])
@pytest.mark.parametrize("way", ["shorten", "leave out"])
def test_requests_are_queued_after_each_remedy(length, way):
    def first_of(prompts):
        waiting = requests.WaitingFamilies(itertools.starmap(request, prompts.items()), 8, 1)
        waiting.fill(2)
        return waiting.take(2, 2)

    message = refusal(first_of, {"a": 3, "b": length})
    lowest, highest = re.search(
        r"request b: its prompt has \d tokens, expected (\d) to (\d); shorten it or leave it out$",
        message,
    ).groups()
    if way == "leave out":
        assert [family.requests[0].id for family in first_of({"a": 3})[1]] == ["a"]
    else:
        for size in (lowest, highest):
            assert first_of({"a": 3, "b": int(size)})


@pytest.mark.parametrize("way", ["shorten", "leave out"])
def test_texts_are_completed_after_each_remedy(way, monkeypatch):
    class Echo:
        """An engine that completes every prompt at once."""

        def __init__(self, model, **settings):
            pass

        def generate(self, requests):
            return (Completion(one.id, (2,), "eos") for one in requests)

    monkeypatch.setattr(texts, "Engine", Echo)
    model = types.SimpleNamespace(
        adapters=0,
        model=types.SimpleNamespace(max_positions=20),
        vocabulary=types.SimpleNamespace(eos_id=1, drawable=lambda: [2]),
    )

    def completed(prompts):
        with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
            every = itertools.starmap(request, prompts.items())
            return {one.id for one in texts.complete(model, list(every), sampling(6), slots=2)}

    message = refusal(completed, {"a": 3, "b": 15})
    room = re.search(r"^request b: .* leave room for (\d+); shorten it or leave it out$", message)
    if way == "leave out":
        assert completed({"a": 3}) == {"a"}
    else:
        assert completed({"a": 3, "b": int(room[1])}) == {"a", "b"}
