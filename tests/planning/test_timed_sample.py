"""Times of a sample, and what they say about a job."""

import dataclasses
from types import SimpleNamespace

import pytest
from flax import nnx

from teacherlm_jax.config import ModelConfig, SamplingConfig
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.texts import LengthGroup
from teacherlm_jax.models import registry
from teacherlm_jax.planning import timed_sample
from teacherlm_jax.planning.timed_sample import TimedSample, timed

SAMPLE = TimedSample(
    counts=SlotCounts(prompts=10, prefills=5, slot_steps=400, busy_steps=290),
    seconds=30.0,
    texts=4,
    prompt_token_seconds=0.01,
    step_seconds=0.2,
    busy=0.5,
)


def test_the_hours_of_a_job_are_those_of_its_prompts_and_steps_in_every_group():
    lengths, groups = {10: 90, 20: 10, 100: 4}, [LengthGroup(20, 8), LengthGroup(100, 2)]
    prompts = 0.01 * (900 + 200 + 400)
    steps = 0.2 * (100 * 50 / (8 * 0.5) + 4 * 50 / (2 * 0.5))
    assert SAMPLE.hours(lengths, groups, 50) == pytest.approx((prompts + steps) / 3600)


def test_unfinished_texts_count_in_the_mean_length():
    assert SAMPLE.mean_tokens(512) == 300 / 4
    assert SAMPLE.mean_tokens(60) == 60
    assert dataclasses.replace(SAMPLE, texts=0).mean_tokens(512) is None


class _FakeEngine:
    """An engine that reads 2 prompts in 1 s, decodes 10 steps in 5 s, and first compiles 100 s."""

    prefill_prompts = 2

    def __init__(self, clock, slots):
        self.counts, self._clock, self._slots = SlotCounts(), clock, slots

    def generate(self, requests, enough=lambda: False):
        requests = list(requests)
        if not self.counts.prompts:
            self._clock.now += 100
            self.counts.compile_seconds += 100
        prefills = -(-len(requests) // 2)
        self._clock.now += prefills
        self.counts.prefills += prefills
        self.counts.prompts += len(requests)
        if requests[0].most is None:
            self._clock.now += 5
            self.counts.slot_steps += 10 * self._slots
            self.counts.busy_steps += 10 * len(requests)
        if not enough():
            yield from requests


def test_compilations_are_not_counted_and_prefills_are_told_from_steps(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timed_sample.time, "monotonic", lambda: clock.now)
    sample = timed(_FakeEngine(clock, 8), _requests(6), 8, 60.0, complete=True)
    assert sample.seconds == 3 + 5
    assert sample.prompt_token_seconds == pytest.approx(1 / 6)  # 2 prompts of 3 tokens
    assert sample.step_seconds == 0.5
    assert (sample.texts, sample.busy) == (6, 0.75)


@pytest.fixture(scope="module")
def engine():
    model = ModelConfig(layers=1, width=16, heads=2, vocab_size=32, dtype="float32")
    return Engine(
        registry.build(model, nnx.Rngs(0)),
        slots=4,
        prompt_length=8,
        sampling=SamplingConfig(max_new_tokens=40, min_new_tokens=40),
        eos_id=1,
        steps_per_sync=5,
    )


def _requests(count):
    return [
        GenerationRequest(str(n), (3, 4, 5), request_key(0, str(n), "cot")) for n in range(count)
    ]


def test_a_small_job_is_generated_to_its_end(engine):
    sample = timed(engine, _requests(6), 4, 600.0, complete=True)
    assert (sample.texts, sample.counts.prompts, sample.counts.tokens) == (6, 6, 240)
    assert 0.6 < sample.busy < 1
    assert min(sample.seconds, sample.prompt_token_seconds, sample.step_seconds) > 0


def test_slots_stay_busy_to_the_end_of_a_sample_of_a_larger_job(engine):
    sample = timed(engine, _requests(10), 4, 600.0, complete=False)
    assert 4 <= sample.texts < sample.counts.prompts <= 10
    assert sample.busy == sample.counts.busy > 0.9


def test_a_slow_machine_generates_few_texts(engine):
    sample = timed(engine, _requests(10), 4, 1e-9, complete=False)
    assert (sample.counts.prompts, sample.texts, sample.busy) == (1, 0, 1.0)
    assert 0 < sample.counts.busy_steps <= 5
