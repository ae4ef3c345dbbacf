"""A model that chooses an option with each explanation, and explanations without a verdict."""

import dataclasses

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.annotation.explain import explain
from teacherlm_jax.annotation.gates.answer_check import NAME, answers_found
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.config import MeshConfig, SamplingConfig
from teacherlm_jax.data.sample import LETTERS, Sample
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.rank import Prediction
from teacherlm_jax.hf import any_model

SAMPLE = Sample(id="1", question="Where do cats sleep?", options=("barn", "house"), answer="(B)")


@pytest.fixture(scope="module")
def loaded(teachers):
    mesh = sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])
    return any_model.load(teachers[0], mesh, dtype="float32")


def _explained(text, kind="cot", sample=SAMPLE):
    return GateInput(sample=sample, kind=kind, text=text, finish_reason="eos")


def _by_program(samples, kind):
    """Return the explanations of a kind of generated samples."""
    return [
        _explained(*sample.explanations[kind].values(), kind, sample)
        for sample in samples
        if sample.options
    ]


@pytest.fixture
def asked(monkeypatch):
    """Questions that were scored by a model that chooses the second option of all."""
    questions = []

    def score(loaded, batch, *, max_length, scorer):
        questions.extend(batch)
        return [
            Prediction(id=question.id, subject="", gold=question.gold, scores=(-2.0, -1.0, -3.0))
            for question in batch
        ], 0

    monkeypatch.setattr(predictions, "score", score)
    return questions


def test_the_model_reads_question_explanation_and_options(asked):
    assert answers_found(None, [_explained(" Cats live with people. ")]) == [True]
    assert [question.context for question in asked] == [
        "Q: Where do cats sleep? Cats live with people. (A) barn (B) house A: The answer is ("
    ]
    assert asked[0].options == ("A", "B")


def test_an_explanation_passes_if_the_right_option_is_chosen(asked):
    other = dataclasses.replace(SAMPLE, answer="(A)")
    open_question = Sample(id="2", question="2 + 2?", answer="4")
    explained = [
        _explained("Two and two.", sample=open_question),
        _explained("In barns.", sample=other),
        _explained("A cat is a pet.", "fundamental"),
        _explained("To think of farms.", "mistake"),
        _explained(" "),
        _explained("In houses."),
    ]
    assert answers_found(None, explained) == [None, False, True, None, None, True]
    assert answers_found(None, explained[:1]) == [None]
    assert answers_found(None, []) == []


def test_verdicts_are_those_of_an_evaluation_and_do_not_depend_on_the_batch(loaded, samples):
    explained = _by_program(samples, "cot")
    found = answers_found(loaded, explained)
    questions = [
        Question(
            context=f"Q: {item.sample.question} {item.text} "
            + " ".join(
                f"({letter}) {option}"
                for letter, option in zip(LETTERS, item.sample.options, strict=False)
            )
            + " A: The answer is (",
            options=tuple(LETTERS[: len(item.sample.options)]),
            gold=item.sample.answer_index,
            id=item.sample.id,
        )
        for item in explained
    ]
    scored, _ = predictions.score(loaded, questions)
    assert found == [prediction.correct for prediction in scored]
    assert {True, False} == set(found)
    scorer = predictions.scorer_of(loaded, 512)
    for item, verdict in reversed(list(zip(explained, found, strict=True))):
        assert answers_found(loaded, [item], scorer=scorer) == [verdict]


def test_explain_checks_answers_if_the_gate_is_named(loaded, samples):
    short = SamplingConfig(max_new_tokens=6)
    explanations = explain(
        *(loaded, samples[:4], ("cot", "mistake"), short), gates=(NAME, "finished"), slots=8
    )
    expected = answers_found(loaded, [one.judged for one in explanations])
    assert any(verdict is not None for verdict in expected)
    for one, verdict in zip(explanations, expected, strict=True):
        assert one.gates.get(NAME) is verdict
        assert one.gates["finished"] == (one.finish_reason == "eos")
        assert list(one.gates) == ["finished"] if verdict is None else [NAME, "finished"]
