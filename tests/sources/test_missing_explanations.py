"""Rows without an explanation, which are samples without one in every format."""

import pytest

from teacherlm_jax.config import ColumnsConfig
from teacherlm_jax.sources import reading

NAN = float("nan")
QUESTION = {"id": "1", "question": "Up?", "answer": "x"}
CREAK = {"sentence": "Ice is hot.", "label": False}
ECQA = {"q_text": "?", "q_ans": "o1"} | {f"q_op{n}": f"o{n}" for n in range(1, 6)}
# Rows of each format, and their column of explanations.
FORMATS = {
    "sample": (QUESTION, "human"),
    "columns": (QUESTION, "why"),
    "cot": (QUESTION, "cot"),
    "creak": (CREAK, "explanation"),
    "ecqa": (ECQA, "taskB"),
}


def explanation(format, *value):
    """Return the explanation of a sample whose row has a value as its explanation, or has none."""
    row, column = FORMATS[format]
    explained = dict(zip([column], value, strict=False))
    more = {"explanations": {"cot": explained}} if format == "sample" else explained
    named = ColumnsConfig(cot="why")
    sample = reading.to_sample(format, row | more, source="set", line=1, named=named)
    return sample.explanation("cot", "human")


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_explanation_is_an_empty_one_in_every_format(format):
    assert [explanation(format, value) for value in (None, NAN, "")] == [None] * 3
    assert explanation(format) is None
    assert explanation(format, "Because.") == "Because."


@pytest.mark.parametrize("explanations", [None, NAN, {"cot": None, "mistake": {"human": NAN}}])
def test_explanations_of_a_sample_may_be_null_at_every_level(explanations):
    row = QUESTION | {"explanations": explanations}
    sample = reading.to_sample("sample", row, source="set", line=1)
    assert not any(sample.explanations.values())


@pytest.mark.parametrize("format", ["sample", "cot", "creak", "ecqa"])
@pytest.mark.parametrize("value", [0, False, []])
def test_an_explanation_that_is_not_text_is_refused(format, value):
    with pytest.raises(ValueError, match="cot by human is .*, expected text"):
        explanation(format, value)
