"""Samples: valid and refused rows, and conversion to JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.data.sample import KINDS, LETTERS, Sample, SampleError, from_row, to_row

TEXT = st.characters(codec="utf-8")
WORDS = st.text(TEXT, min_size=1, max_size=8).filter(str.strip)
EXPLANATIONS = st.dictionaries(st.sampled_from(KINDS), st.dictionaries(WORDS, WORDS, max_size=2))

ANNOTATIONS = st.dictionaries(
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {"author": WORDS, "gates": st.dictionaries(WORDS, st.booleans(), max_size=2)}
    ),
)

HALF = "\ud83d"  # the first of the two code units of an emoji in UTF-16


@st.composite
def samples(draw):
    options = tuple(draw(st.lists(WORDS, min_size=2, max_size=5) | st.just([])))
    letter = draw(st.sampled_from(LETTERS[: len(options)])) if options else None
    return Sample(
        id=draw(WORDS),
        question=draw(WORDS),
        answer=f"({letter})" if letter else draw(WORDS),
        options=options,
        subject=draw(st.text(TEXT, max_size=4)),
        source=draw(st.text(TEXT, max_size=4)),
        explanations=draw(EXPLANATIONS),
        annotations=draw(ANNOTATIONS),
    )


def row(**changes):
    return {"id": "1", "question": "Sky?", "answer": "(B)", "options": ["red", "blue"]} | changes


@given(samples())
def test_a_sample_is_unchanged_by_a_round_trip_through_json(sample):
    assert from_row(json.loads(json.dumps(to_row(sample)))) == sample


@pytest.mark.parametrize("name", ["options", "subject", "source", "explanations", "annotations"])
def test_a_field_that_is_null_counts_as_missing(name):
    values = row(answer="blue", subject="colours", source="toys")
    without = {key: value for key, value in values.items() if key != name}
    assert from_row(values | {name: None}) == from_row(without)


def test_the_annotation_of_a_kind_that_is_null_counts_as_missing():
    """Tables have all columns in all rows."""
    cot = {"author": "me", "gates": {"finished": True}, "temperature": None}
    sample = from_row(row(annotations={"cot": cot, "mistake": None}))
    assert sample.annotations == {"cot": cot}


@pytest.mark.parametrize(
    ("gates", "verdicts"), [({"finished": True, "not_empty": None}, {"finished": True}), (None, {})]
)
def test_the_verdict_of_a_gate_that_is_null_counts_as_missing(gates, verdicts):
    sample = from_row(row(annotations={"cot": {"author": "me", "gates": gates}}))
    assert sample.annotations == {"cot": {"author": "me", "gates": verdicts}}


@pytest.mark.parametrize("answer", ["B", "(B)", " (B) ", "blue", "Blue.", "  BLUE\n"])
def test_an_answer_may_be_a_letter_or_the_text_of_an_option(answer):
    sample = from_row(row(answer=answer))
    assert (sample.answer, sample.answer_index) == ("(B)", 1)


def test_an_exact_match_is_preferred_to_an_option_that_differs_in_case():
    assert from_row(row(options=["US", "us"], answer="us")).answer == "(B)"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question": "  "}, "empty question"),
        ({"question": None}, "question is null, expected text"),
        ({"answer": 5}, "answer is int, expected text"),
        ({"answer": "green"}, "the answer is not one of the options"),
        ({"answer": "(C)"}, "the answer is not one of the options"),
        ({"answer": "red", "options": ["red", "red"]}, "the answer matches more than one option"),
        ({"answer": "A", "options": ["B", "A"]}, "the answer matches more than one option"),
        ({"options": ["only"]}, "1 options; expected 2 to 26"),
        ({"options": "blue"}, "options are str, expected a list"),
        ({"options": ["red", ""]}, "empty option"),
        ({"subject": 3}, "subject is int, expected text"),
        ({"explanations": {"proof": {}}}, "unknown kind of explanation 'proof'"),
        (
            {"explanations": {"cot": "because"}},
            "explanations of the kind cot are str, expected an ob",
        ),
        ({"explanations": {"cot": {"human": 1}}}, "cot by human is int, expected text"),
        ({"explanations": []}, "explanations are a list, expected an object"),
        ({"annotations": 3}, "annotations are int, expected an object"),
        ({"annotations": {"proof": {}}}, "unknown kind of explanation 'proof'"),
        ({"annotations": {"cot": 3}}, "the annotation of cot has no author"),
        ({"annotations": {"cot": {"gates": {}}}}, "the annotation of cot has no author"),
        ({"annotations": {"cot": {"author": "me"}}}, "the annotation of cot has no gates"),
        (
            {"annotations": {"cot": {"author": "me", "gates": {"finished": "no"}}}},
            "the annotation of cot has no gates, an object with values true or false",
        ),
    ],
)
def test_an_unusable_row_is_refused_with_the_reason(changes, reason):
    with pytest.raises(SampleError) as refusal:
        from_row(row(**changes))
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": HALF},
        {"question": f"Sky? {HALF}"},
        {"options": ["red", "blue", HALF]},
        {"subject": HALF},
        {"source": HALF},
        {"explanations": {"cot": {"human": HALF}}},
        {"explanations": {"cot": {HALF: "text"}}},
        {"annotations": {"cot": {"author": "me", "gates": {}, "notes": [HALF]}}},
    ],
)
def test_half_a_surrogate_pair_is_refused_in_every_field(changes):
    (name,) = changes
    with pytest.raises(SampleError, match=f"{name} contains half a surrogate pair"):
        from_row(row(**changes))
    assert from_row(row(question="Sky? \U0001f600")).question.endswith("\U0001f600")


@pytest.mark.parametrize("key", ["id", "question", "answer", "options", "subject", "explanations"])
def test_different_values_of_the_same_wrong_type_have_the_same_reason(key):
    reasons = set()
    for value in (7.5, 8.5):
        with pytest.raises(SampleError) as refusal:
            from_row(row(**{key: value}))
        reasons.add(str(refusal.value))
    assert len(reasons) == 1


@pytest.mark.parametrize("key", ["id", "question", "answer"])
def test_a_missing_field_is_named(key):
    incomplete = {name: value for name, value in row().items() if name != key}
    with pytest.raises(SampleError, match=f"no {key}"):
        from_row(incomplete)


def test_the_constructor_accepts_only_a_letter_in_brackets_as_answer():
    with pytest.raises(SampleError, match=r"'blue' is not one of \(A\) to \(B\)"):
        Sample(id="1", question="Sky?", answer="blue", options=("red", "blue"))


def test_a_blank_explanation_counts_as_missing():
    sample = from_row(row(explanations={"cot": {"teacher": " \n", "human": "Look up."}}))
    assert sample.explanation("cot", "teacher") is None
    assert sample.explanation("cot", "human") == "Look up."
    assert sample.explanation("mistake", "human") is None


def test_a_free_text_answer_has_no_index():
    with pytest.raises(SampleError, match="no options"):
        _ = from_row({"id": "1", "question": "6 times 7?", "answer": "42"}).answer_index
