"""Prompts, which equal the authors' byte for byte, and the forms of training texts."""

import collections
import dataclasses
import json

import pytest

from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.sources import reading

CHOICE = Sample(
    id="sky",
    question="What is blue?",
    answer="(B)",
    options=("grass", "sky"),
    subject="colours",
    explanations={kind: {"human": f"{kind} text.", "teacher": " padded \n"} for kind in KINDS},
)
FREE = Sample(id="sum", question="48 + 24?", answer="72", explanations={"cot": {"human": "Add."}})


def joined(*arguments, **settings):
    return "".join(piece.text for piece in prompts.pieces(*arguments, **settings))


def explanation_prompt(*arguments, **settings):
    return "".join(piece.text for piece in prompts.explanation_pieces(*arguments, **settings))


def test_all_prompts_of_the_authors_are_reproduced_byte_for_byte(shared_data):
    fields = {"cot": "cot_text", "mistake": "error_text", "fundamental": "fundamental_text"}
    lines = (shared_data / "annotate" / "creak_prompts.jsonl").read_text("utf-8").splitlines()
    for line, text in enumerate(lines, start=1):
        row = json.loads(text)
        sample = reading.to_sample("creak", row, source="creak", line=line)
        assert joined(sample, "text", "human") == row["text"]
        for kind, field in fields.items():
            assert explanation_prompt(sample, kind) == row[field]
    assert len(lines) == 674


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a  b", "a b"),
        ("a   b", "a  b"),  # one pass: three become two
        (" a b ", "a b"),
        (" a b", " a b"),  # a text that does not end in a space is not stripped
    ],
)
def test_clean_up_is_one_pass_as_in_the_authors_code(text, cleaned):
    assert prompts.clean(text) == cleaned


def test_a_question_prompt_ends_where_the_answer_starts():
    assert (
        prompts.question_prompt(CHOICE) == "Q: What is blue? (A) grass (B) sky A: The answer is ("
    )
    assert prompts.question_prompt(FREE) == "Q: 48 + 24? A:"


def test_options_and_subject_are_written_as_in_the_question():
    assert prompts.options_text(CHOICE) == "(A) grass (B) sky"
    assert prompts.options_text(FREE) == ""
    prompt = prompts.question_prompt(CHOICE, subject_prefix=True)
    assert prompt.startswith(f"{prompts.subject_sentence('colours')} Q: ")
    assert f" {prompts.options_text(CHOICE)} A:" in prompt


def test_the_subject_prefix_is_added_only_to_samples_that_have_a_subject():
    assert prompts.question_prompt(CHOICE, subject_prefix=True) == (
        "The following are multiple choice questions (with answers) about colours. "
        "Q: What is blue? (A) grass (B) sky A: The answer is ("
    )
    assert prompts.question_prompt(FREE, subject_prefix=True) == "Q: 48 + 24? A:"


COT = " Let's think step by step. cot text."
MISTAKE = " The common mistakes are: mistake text."


@pytest.mark.parametrize(
    ("form", "rest"),
    [
        ("text", ""),
        ("C", " Let's think step by step. cot text."),
        ("M", " The common mistakes are: mistake text."),
        ("F", " The fundamental of this question is: fundamental text."),
        ("CM", " Let's think step by step. cot text. The common mistakes are: mistake text."),
        (
            "FCM",
            f" The fundamental of this question is: fundamental text.{COT}{MISTAKE}",
        ),
        (
            "CMF",
            f"{COT}{MISTAKE} The fundamental of this question is: fundamental text.",
        ),
    ],
)
def test_every_form_is_the_question_with_its_answer_and_explanations(form, rest):
    answered = "Q: What is blue? (A) grass (B) sky A: The answer is (B)."
    assert joined(CHOICE, form, "human") == answered + rest


def test_free_text_answers_follow_the_colon():
    assert joined(FREE, "C", "human") == "Q: 48 + 24? A: 72 Let's think step by step. Add."


def test_piece_boundaries_are_the_same_in_training_and_at_inference():
    for sample, answer in ((CHOICE, "B"), (FREE, " 72")):
        question, answer_piece, *_ = prompts.pieces(sample, "C", "human")
        assert question == prompts.Piece(prompts.question_prompt(sample), "question")
        assert answer_piece == prompts.Piece(answer, "answer")
        prompt = prompts.explanation_pieces(sample, "cot")
        text = prompts.pieces(sample, "C", "human")
        assert text[: len(prompt)] == prompt
        assert text[len(prompt) :] == (text[-1],)
        assert text[-1].role == "explanation"


def test_the_teachers_prompt_has_the_subject_only_with_subject_prefix():
    prompt = explanation_prompt(CHOICE, "cot")
    assert (
        prompt
        == "Q: What is blue? (A) grass (B) sky A: The answer is (B). Let's think step by step."
    )
    prefixed = explanation_prompt(CHOICE, "cot", subject_prefix=True)
    assert prefixed == f"{prompts.subject_sentence('colours')} {prompt}"


def test_a_piece_is_immutable_and_compared_by_value():
    piece = prompts.Piece("B", "answer")
    with pytest.raises(dataclasses.FrozenInstanceError):
        piece.text = "A"
    assert len({piece, prompts.Piece("B", "answer"), prompts.Piece("B", "question")}) == 2


def test_explanations_begin_with_one_space_however_they_were_padded():
    assert prompts.pieces(CHOICE, "C", "teacher")[-1].text == " padded"


def test_a_missing_explanation_is_named_by_kind_and_author():
    with pytest.raises(prompts.MissingExplanation, match="no mistake by human"):
        prompts.pieces(FREE, "CM", "human")


def test_shuffle_draws_each_order_equally_often_by_seed_and_sample():
    def order(number, seed):
        text = [(kind, {"human": kind}) for kind in KINDS]
        sample = Sample(id=str(number), question="?", answer="!", explanations=dict(text))
        pieces = prompts.pieces(sample, "shuffle", "human", seed=seed)
        return tuple(piece.text for piece in pieces if piece.role == "explanation")

    orders = [order(number, seed=3) for number in range(1200)]
    assert orders == [order(number, seed=3) for number in range(1200)]
    counts = collections.Counter(orders)
    assert len(counts) == 6
    assert min(counts.values()) > 150
    assert sum(order(number, seed=4) != orders[number] for number in range(1200)) > 900


def test_the_shuffled_order_of_a_sample_never_changes():
    """The orders were recorded with the default seed, 0."""
    orders = []
    for number in range(6):
        explanations = {kind: {"human": kind[0].upper()} for kind in KINDS}
        sample = Sample(id=str(number), question="?", answer="!", explanations=explanations)
        pieces = prompts.pieces(sample, "shuffle", "human")
        orders.append("".join(p.text.strip() for p in pieces if p.role == "explanation"))
    assert orders == ["CMF", "MFC", "MCF", "FCM", "MCF", "CMF"]
