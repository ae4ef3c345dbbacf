"""Decisions of STaR about rows: prompts, hints, judgements and counts, without files or models."""

import dataclasses
import json
import re

import pytest

from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import Sample, SampleError, from_row
from teacherlm_jax.pipelines import star_rows
from teacherlm_jax.pipelines.star_rows import FILTERED, RATIONALIZED

CHOICE = Sample(
    id="q1",
    question="Ann has 7 pens and finds 3 pens. True or false: Ann now has more than 16 pens.",
    options=("True", "False"),
    answer="(B)",
    explanations={"cot": {"human": "7 plus 3 makes 10 pens. 10 is fewer than 16."}},
)
FREE = Sample(id="q2", question="What is 48 plus 24?", answer="72")
GATES = ("finished", "not_empty", "concludes_answer")


def prompt(sample):
    return "".join(piece.text for piece in prompts.explanation_pieces(sample, "cot"))


def text_of(row, author=star_rows.AUTHOR):
    """The training text of a row, with the pieces whose tokens have loss."""
    pieces = prompts.pieces(from_row(row), "C", author)
    return "".join(piece.text for piece in pieces)


def test_the_prompt_of_an_attempt_differs_from_that_of_a_rationalization_in_the_answer_only():
    hinted = prompt(star_rows.hinted(CHOICE))
    assert hinted == prompt(CHOICE)
    assert "A: The answer is (B). Let's" in hinted
    assert prompt(star_rows.masked(CHOICE)) == hinted.replace("is (B).", "is (?).")
    assert prompt(star_rows.masked(FREE)) == prompt(FREE).replace("A: 72 ", "A: ? ")


@pytest.mark.parametrize("sample", [*synthetic.generate(45, seed=3)], ids=lambda s: s.id)
def test_a_masked_sample_does_not_tell_the_answer(sample):
    masked = star_rows.masked(sample)
    others = [f"({letter})" for letter in "ABCD"[: len(sample.options)]]
    texts = {prompt(star_rows.masked(dataclasses.replace(sample, answer=a))) for a in others}
    assert texts == {prompt(masked)}
    assert not masked.explanations and not masked.options


@pytest.mark.parametrize(
    ("text", "rationale", "answer"),
    [
        ("7 plus 3 makes 10. The answer is (B).", "7 plus 3 makes 10.", "(B)"),
        ("The answer is (A). No. The answer is (B).", "The answer is (A). No.", "(B)"),
        ("so the answer is False.", "so the answer is False.", ""),
        ("The answer is 72.", "", "72"),
        ("", "", ""),
    ],
)
def test_a_text_is_divided_into_rationale_and_answer(text, rationale, answer):
    assert star_rows.divide(text) == (rationale, answer)


@pytest.mark.parametrize(
    ("sample", "answer", "right"),
    [
        (CHOICE, "(B)", True),
        (CHOICE, "(A)", False),
        (CHOICE, "False", False),
        (CHOICE, "", False),
        (FREE, "72", True),
        (FREE, "$72.00", True),
        (FREE, "7", False),
        (FREE, "72 and 7", False),
        (FREE, "", False),
        (dataclasses.replace(FREE, answer="1,250"), "$1250", True),
        (dataclasses.replace(FREE, answer="A red fox."), "a  red fox", True),
        (dataclasses.replace(FREE, answer="-"), "", False),
    ],
)
def test_an_answer_is_right_if_it_is_the_letter_the_text_or_the_number(sample, answer, right):
    assert star_rows.is_right(sample, answer) is right


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("10 is fewer than 16, so the answer is False. The answer is (B).", "eos", ""),
        ("10 is fewer than 16. The answer is (B).", "stop", ""),
        ("10 is fewer than 16. The answer is (B).", "length", "truncated"),
        ("10 is fewer than 16, so the answer is False.", "eos", "no answer"),
        ("10 is more than 16. The answer is (A).", "eos", "wrong answer"),
        ("10 is fewer than 16. The answer is (B", "eos", "wrong answer"),
        ("The answer is (B). 10 is fewer. The answer is (B).", "eos", "answer before the end"),
        ("The answer is (A). 10 is fewer. The answer is (B).", "eos", "answer before the end"),
        ("The answer is (B).", "eos", "gate not_empty"),
        ("10 is more, so the answer is True. The answer is (B).", "eos", "gate concludes_answer"),
        ("", "eos", "no answer"),
    ],
)
def test_a_text_is_kept_if_it_ends_in_the_right_answer_alone_and_passes_the_gates(
    text, finish_reason, reason
):
    judgement = star_rows.judge(CHOICE, text, finish_reason, GATES)
    assert judgement.reason == reason
    assert judgement.kept is (reason == "")


def test_an_answer_counts_as_right_whatever_the_gates_say():
    text = "10 is more, so the answer is True. The answer is (B)."
    assert star_rows.judge(CHOICE, text, "eos", GATES).right
    assert not star_rows.judge(CHOICE, text, "length", GATES).right


def test_every_right_explanation_of_the_generated_families_is_kept_as_it_is():
    for sample in synthetic.generate(90, seed=1):
        cot = sample.explanation("cot", synthetic.AUTHOR)
        text = star_rows.conclude(sample, cot)
        judgement = star_rows.judge(sample, text, "eos", (*GATES, "synthetic"))
        assert (judgement.reason, judgement.rationale) == ("", cot)


def rationalized(sample=CHOICE, text="10 is fewer than 16. The answer is (B)."):
    judgement = star_rows.judge(sample, text, "eos", GATES)
    return star_rows.kept_row(sample, judgement, RATIONALIZED, 2, {"model_digest": "sha256:1"})


def test_a_kept_row_is_a_sample_that_records_where_its_explanation_comes_from():
    row = rationalized()
    assert from_row(row).explanation("cot", "star") == "10 is fewer than 16."
    assert row["annotations"]["cot"] == {
        "author": "star",
        "gates": {"finished": True, "not_empty": True, "concludes_answer": True},
        "origin": RATIONALIZED,
        "round": 2,
        "model_digest": "sha256:1",
    }
    assert list(row["explanations"]) == ["cot"] and list(row["explanations"]["cot"]) == ["star"]


def test_a_training_example_never_holds_the_hint():
    kept = from_row(rationalized())
    (*_, row) = star_rows.training_rows([], "human", [kept])
    text = text_of(row)
    question, _, written = text.partition(" Let's think step by step. ")
    assert question == f"Q: {CHOICE.question} (A) True (B) False A: The answer is (?)."
    assert written == "10 is fewer than 16. The answer is (B)."
    assert text.count("(B)") == 2  # the option and the conclusion
    assert RATIONALIZED not in json.dumps(row)


def test_the_origin_of_an_explanation_does_not_change_its_training_example():
    judgement = star_rows.judge(CHOICE, "10 is fewer. The answer is (B).", "eos", GATES)
    rows = [star_rows.kept_row(CHOICE, judgement, origin, 1, {}) for origin in
            (FILTERED, RATIONALIZED)]  # fmt: skip
    first, second = (list(star_rows.training_rows([], "human", [from_row(row)])) for row in rows)
    assert first == second
    assert rows[0] != rows[1]


def test_the_seed_set_is_trained_with_the_answer_masked_and_given():
    without = dataclasses.replace(CHOICE, id="none", explanations={})
    rows = [*star_rows.training_rows([CHOICE, without], "human", [from_row(rationalized())])]
    assert [row["id"] for row in rows] == ["seed/q1", "hint/q1", "kept/q1"]
    masked, hinted, _ = map(text_of, rows)
    assert hinted == masked.replace("is (?).", "is (B).")
    assert masked.endswith("10 is fewer than 16. The answer is (B).")


def test_the_text_to_train_on_is_one_that_is_kept():
    for sample in (CHOICE, FREE, dataclasses.replace(FREE, answer="A red fox.")):
        text = star_rows.conclude(sample, "Because of reasons.")
        assert star_rows.judge(sample, text, "eos", ("finished",)).kept, text


@pytest.mark.parametrize(
    ("sample", "stated"),
    [
        (CHOICE, "(B)."),
        (CHOICE, "(B)"),
        (CHOICE, "B."),
        (CHOICE, "False."),
        (FREE, "72."),
        (FREE, "$72.00"),
    ],
)
def test_the_answer_is_not_stated_twice_after_an_explanation_that_ends_in_it(sample, stated):
    explanation = f"Because of reasons. The answer is {stated}\n"
    seed = dataclasses.replace(sample, explanations={"cot": {"human": explanation}})
    star_rows.require_conclusive(seed, "human")
    text = star_rows.conclude(seed, explanation)
    assert text == f"Because of reasons. The answer is {seed.answer}."
    assert star_rows.judge(seed, text, "eos", ("finished",)).kept


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10 is more. The answer is (A).", "ends in 'The answer is (A)', another answer"),
        ("The answer is (B). 10 is fewer.", "ends in 'The answer is (B). 10 is fewer', another"),
        ("The answer is (B). Fewer. The answer is (B).", "states an answer before its end"),
        ("The answer is (B).", "is only the answer"),
    ],
)
def test_a_seed_text_that_states_another_answer_or_states_it_too_early_is_refused(text, problem):
    seed = dataclasses.replace(CHOICE, explanations={"cot": {"human": text, "other": "Fewer."}})
    with pytest.raises(SampleError, match=re.escape(problem)):
        star_rows.require_conclusive(seed, "human")
    star_rows.require_conclusive(seed, "other")
    star_rows.require_conclusive(seed, "nobody")


def test_judgements_are_counted_by_reason():
    texts = [
        "10 is fewer. The answer is (B).",
        "10 is more. The answer is (A).",
        "10 is more. The answer is (A).",
        "10 is more, so the answer is True. The answer is (B).",
        "10",
    ]
    judgements = [star_rows.judge(CHOICE, text, "eos", GATES) for text in texts]
    assert star_rows.counts(judgements) == {
        "texts": 5,
        "right": 2,
        "kept": 1,
        "not_kept": {"gate concludes_answer": 1, "no answer": 1, "wrong answer": 2},
    }
    assert star_rows.counts([]) == {"texts": 0, "right": 0, "kept": 0, "not_kept": {}}
