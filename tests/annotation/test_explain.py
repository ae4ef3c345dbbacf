"""Explanations without a run folder."""

import dataclasses

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.annotation import explain as explanations_of_samples
from teacherlm_jax.annotation.explain import explain
from teacherlm_jax.config import DEFAULT_GATES, MeshConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.requests import Completion
from teacherlm_jax.hf import any_model

SAMPLING = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=6)


@pytest.fixture(scope="module")
def loaded(teachers):
    return any_model.load(teachers[0], sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1]))


def test_explanations_come_sample_by_sample_with_verdicts(loaded, samples):
    explanations = explain(loaded, samples[:3], ("mistake", "cot"), SAMPLING, slots=4)
    assert [(explanation.sample.id, explanation.kind) for explanation in explanations] == [
        (sample.id, kind) for sample in samples[:3] for kind in ("mistake", "cot")
    ]
    for one in explanations:
        assert tuple(one.gates) == DEFAULT_GATES
        assert one.new_tokens <= 6 < one.prompt_tokens


@pytest.mark.parametrize(
    ("text", "finish_reason", "verdicts"),
    [
        ("", "eos", {"finished": True, "not_empty": False}),
        ("So", "length", {"finished": False, "not_empty": True}),
    ],
)
def test_the_gates_judge_the_teachers_text(
    loaded, samples, monkeypatch, text, finish_reason, verdicts
):
    tokens = tuple(loaded.vocabulary.encode(text)) if text else ()

    def complete(model, requests, sampling, **settings):
        return [Completion(request.id, tokens, finish_reason) for request in requests]

    monkeypatch.setattr(explanations_of_samples, "complete", complete)
    (explanation,) = explain(loaded, samples[:1], ("cot",), gates=("finished", "not_empty"))
    assert explanation.text == text
    assert explanation.gates == verdicts


def test_an_explanation_depends_on_seed_sample_and_kind_alone(loaded, samples):
    texts = {
        (one.sample.id, one.kind): one.text
        for one in explain(loaded, samples[:3], ("cot", "mistake"), SAMPLING, seed=2, slots=4)
    }
    again = explain(loaded, samples[2:0:-1], ("cot",), SAMPLING, seed=2, slots=1)
    assert [one.text for one in again] == [texts[samples[n].id, "cot"] for n in (2, 1)]
    other = explain(loaded, samples[:3], ("cot", "mistake"), SAMPLING, seed=3, slots=4)
    assert [one.text for one in other] != list(texts.values())


def test_a_gate_or_kind_that_does_not_exist_is_refused(loaded, samples):
    with pytest.raises(UserError, match="gates: expected some of finished, .*got 'good'"):
        explain(loaded, samples[:1], gates=("good",))
    with pytest.raises(UserError, match="kinds: expected some of cot, .*got 'why'"):
        explain(loaded, samples[:1], ("why",))
    with pytest.raises(UserError, match="samples: two have the same id"):
        explain(loaded, [samples[0], samples[0]])
    foreign = dataclasses.replace(samples[0], source="elsewhere")
    with pytest.raises(UserError, match="remove 'synthetic'"):
        explain(loaded, [foreign], gates=("synthetic",))
