"""Conversion of a raw row to a sample, on small rows and on rows of the authors."""

import pytest

from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import LETTERS, Sample, SampleError
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files


def adapt(format, **row):
    return reading.to_sample(format, row, source="set", line=7, subject="things")


QUESTION = {"question": "Sky?\nOptions:\n- red\n- blue", "answer": "blue", "cot": "Look up."}


def test_options_written_with_dashes_are_removed_from_the_question():
    assert adapt("cot", **QUESTION) == Sample(
        id="set-7",
        question="Sky?",
        answer="(B)",
        options=("red", "blue"),
        subject="things",
        source="set",
        explanations={"cot": {"human": "Look up."}},
    )


def test_letters_are_removed_from_options():
    row = {"question": "2+2?\nOptions:\n(A) 3\n(B) 4", "answer": "(B)", "cot": ""}
    sample = adapt("cot", **row)
    assert (sample.question, sample.options, sample.answer) == ("2+2?", ("3", "4"), "(B)")


def test_rows_without_options_keep_their_answer_as_text():
    sample = adapt("cot", question="Is ice cold? ", answer="yes", cot="It is frozen.")
    assert (sample.question, sample.options, sample.answer) == ("Is ice cold?", (), "yes")


def test_the_word_options_inside_a_sentence_is_not_a_heading():
    row = {"question": "How many options: one or two?", "answer": "2", "cot": ""}
    assert adapt("cot", **row).options == ()


@pytest.mark.parametrize(
    ("format", "row", "reason"),
    [
        ("cot", QUESTION | {"answer": "green"}, "the answer is not one of the options"),
        ("cot", QUESTION | {"question": "?\nOptions:\n(B) 3\n(A) 4"}, "a line after 'Options:'"),
        (
            "cot",
            {
                "question": "?\nOptions:\n" + "\n".join(f"({a}) x" for a in LETTERS + "A"),
                "answer": "x",
                "cot": "",
            },
            "a line after 'Options:'",
        ),
        ("cot", {"question": "?"}, "no answer"),
        ("creak", {"sentence": "Ice is hot.", "label": "maybe"}, "label 'maybe' is neither"),
        ("creak", {"label": "true"}, "no sentence"),
        ("strategyqa", {"facts": "x", "origin_question": "?"}, "facts are not a list of texts"),
        (
            "strategyqa",
            {"facts": [], "origin_question": "?", "origin_answer": "yes"},
            "origin_answer 'yes' is neither",
        ),
        (
            "mmlu",
            {"question": "?", "subject": "law", "choices": [1, 2], "answer": "A"},
            "choices are not a list of texts",
        ),
        (
            "mmlu",
            {"question": "?", "subject": "law", "choices": ["a", "b"], "answer": "C"},
            "the answer is not one of the options",
        ),
    ],
)
def test_an_unusable_row_is_refused_with_a_reason(format, row, reason):
    with pytest.raises(SampleError) as refusal:
        adapt(format, **row)
    assert str(refusal.value).startswith(reason)


def test_mmlu_questions_are_one_line_with_punctuation_at_the_end():
    row = {"subject": "us_law", "idx": 3, "choices": ["a\nb", "c"], "answer": 1}
    sample = adapt("mmlu", question="One\ntwo", **row)
    assert prompts.question_prompt(sample, subject_prefix=True) == (
        "The following are multiple choice questions (with answers) about us law. "
        "Q: One two. (A) a b (B) c A: The answer is ("
    )
    assert (sample.id, sample.answer) == ("us_law-3", "(B)")
    for question in ('One."', "One,", "One!", "One?", "One."):
        assert adapt("mmlu", question=question, **row).question == question


def test_strategyqa_prompts_equal_those_of_the_authors(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "strategy_qa.jsonl"):
        sample = reading.to_sample("strategyqa", row, source="strategyqa", line=line)
        assert prompts.question_prompt(sample) == f"Q: {row['question']} A: The answer is ("
        assert sample.answer == row["answer"]


def test_creak_evaluation_rows_equal_those_of_the_authors(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "creak.jsonl"):
        sample = reading.to_sample("creak", row, source="creak", line=line)
        assert prompts.question_prompt(sample) == f"Q: {row['question']} A: The answer is ("
        assert (sample.id, sample.answer) == (row["ex_id"], row["answer"])


def test_ecqa_prompts_equal_those_of_the_authors_except_for_double_spaces(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "ecqa.jsonl"):
        sample = reading.to_sample("ecqa", row, source="ecqa", line=line)
        assert prompts.question_prompt(sample) == prompts.clean(row["test"])
        assert sample.answer == row["answer"]
