"""Prompts of teachers as tokens, and their digests."""

import dataclasses

import pytest

from teacherlm_jax.annotation import explanation_prompts
from teacherlm_jax.annotation.explanation_prompts import encode_prompts, prompt_digest
from teacherlm_jax.data import packing, prompts, synthetic
from teacherlm_jax.data.sample import KINDS

SAMPLES = list(synthetic.generate(5, seed=1))


class _Bytes:
    """A vocabulary with an id for each byte, whose texts begin with the id 2."""

    begin = (2,)
    eos_id = 1

    def __init__(self):
        self.batches = []

    def encode_batch(self, texts):
        self.batches.append(texts)
        return [list(text.encode()) for text in texts]


def test_a_prompt_begins_as_every_text_of_its_vocabulary_does():
    for own in encode_prompts(SAMPLES, KINDS, _Bytes(), False):
        assert [prompt.kind for prompt in own] == list(KINDS)
        for prompt in own:
            pieces = prompts.explanation_pieces(prompt.sample, prompt.kind)
            text = "".join(piece.text for piece in pieces)
            assert prompt.tokens.tolist() == [2, *text.encode()]


@pytest.mark.parametrize(("kind", "form"), [("cot", "C"), ("fundamental", "F"), ("mistake", "M")])
def test_a_prompt_has_the_tokens_that_its_text_begins_with_in_training(kind, form):
    for (prompt,) in encode_prompts(SAMPLES, [kind], _Bytes(), False):
        text = prompts.pieces(prompt.sample, form, synthetic.AUTHOR)
        trained = packing.encode_pieces(text, _Bytes(), "text").tokens
        assert trained[: len(prompt.tokens)] == prompt.tokens.tolist()
        assert bytes(trained[len(prompt.tokens) : -1]).decode() == text[-1].text


def test_samples_are_tokenized_in_batches_and_shared_pieces_once(monkeypatch):
    monkeypatch.setattr(explanation_prompts, "_BATCH", 2)
    vocabulary = _Bytes()
    assert len(list(encode_prompts(SAMPLES, KINDS, vocabulary, False))) == 5
    assert len(vocabulary.batches) == 3
    for batch in vocabulary.batches:
        assert len(set(batch)) == len(batch)


def test_a_digest_depends_on_the_text_of_the_prompt_alone():
    first = SAMPLES[0]
    other_id = dataclasses.replace(first, id="other", source="elsewhere")
    assert prompt_digest(first, "cot", False) == prompt_digest(other_id, "cot", False)
    different = {
        prompt_digest(first, "cot", False),
        prompt_digest(first, "mistake", False),
        prompt_digest(first, "cot", True),
        prompt_digest(dataclasses.replace(first, question="Why?"), "cot", False),
    }
    assert len(different) == 4


def test_digests_never_change():
    sample = dataclasses.replace(SAMPLES[0], question="2 + 2?", options=(), answer="4")
    assert prompt_digest(sample, "cot", False) == "b83343edfab01d15"
