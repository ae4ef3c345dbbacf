"""Duplicate samples, and questions that also appear in other data."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources.duplicates import SHOWN, Overlap, Questions, normalised
from teacherlm_jax.sources.raw_rows import RowLocation
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows


def questions(**sources):
    """Return `Questions` of sources, each a list of questions or (question, options) pairs."""
    collected = Questions()
    for source, items in sources.items():
        for line, item in enumerate(items, start=1):
            question, options = (item, ()) if isinstance(item, str) else item
            answer = "(A)" if options else "x"
            sample = Sample(id=str(line), question=question, answer=answer, options=options)
            collected.add(source, RowLocation(f"{source}.jsonl", line), sample)
    return collected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is ice cold?", "  is ICE\n cold ?"),
        ("Is ice cold?", "“Is ice cold”"),
        ("Die Straße.", "DIE STRASSE"),
        ("…", "…"),
    ],
)
def test_case_spaces_and_punctuation_at_the_ends_are_ignored(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Is ice cold?", "Is ice old?"), ("1.5?", "15?"), ("!", "?"), ("C+", "C")]
)
def test_different_questions_are_not_equal(one, other):
    assert normalised(one) != normalised(other)


@given(st.text())
def test_normalising_is_idempotent(text):
    assert normalised(normalised(text)) == normalised(text)


def test_duplicates_are_counted_with_their_locations():
    collected = questions(a=["One?", "Two?", "one"], b=["Three?", "TWO", "One"])
    assert collected.twice() == [
        Overlap("a", "a", 1, ((RowLocation("a.jsonl", 3), RowLocation("a.jsonl", 1)),)),
        Overlap(
            "b",
            "a",
            2,
            (
                (RowLocation("b.jsonl", 2), RowLocation("a.jsonl", 2)),
                (RowLocation("b.jsonl", 3), RowLocation("a.jsonl", 1)),
            ),
        ),
    ]
    assert str(collected.twice()[0]) == "a.jsonl:3 = a.jsonl:1"
    assert Questions().twice() == []


def test_a_question_with_other_options_is_not_a_duplicate():
    items = [("Which?", ("x", "y")), ("Which?", ("x", "z")), ("Which?", ("Y", "x"))]
    (shared,) = questions(a=items).twice()
    assert shared.places == ((RowLocation("a.jsonl", 3), RowLocation("a.jsonl", 1)),)


def test_all_duplicates_are_counted_and_the_first_are_shown():
    (shared,) = questions(a=["Same?"] * 10).twice()
    assert shared.count == 9
    assert [here.line for here, _ in shared.places] == [2, 3, 4][:SHOWN]


def test_contamination_is_found_whatever_the_options():
    training = questions(a=["One?", "Two?"], b=[("Two?", ("x", "y"))])
    tested = questions(test=["Nought?", "TWO", "Two?"], dev=["Two?"])
    overlaps = training.also_in(tested)
    assert [(overlap.source, overlap.other, overlap.count) for overlap in overlaps] == [
        ("a", "test", 1),
        ("b", "test", 1),
    ]
    assert overlaps[0].places == ((RowLocation("a.jsonl", 2), RowLocation("test.jsonl", 2)),)
    assert training.also_in(Questions()) == Questions().also_in(training) == []


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_every_shared_question_is_counted_and_no_other(training, tested):
    collected = questions(a=[f"Is it {n}?" for n in training])
    twice = sum(overlap.count for overlap in collected.twice())
    assert twice == len(training) - len(set(training))
    shared = collected.also_in(questions(test=[f"Is it {n}?" for n in tested]))
    assert sum(overlap.count for overlap in shared) == sum(n in tested for n in training)


def read(root, *sources):
    collected = Questions()
    for config in sources:
        for location, sample in SourceReading(config, str(root)).first(RefusedRows(None)):
            collected.add(config.name, location, sample)
    return collected


def test_overlaps_of_real_datasets_are_found(shared_data):
    training = read(
        shared_data,
        SourceConfig("strategyqa", "rationale/strategyqa_train.jsonl", "cot"),
        SourceConfig("mmlu_dev", "eval/mmlu_dev.jsonl", "mmlu"),
        SourceConfig("leaked", "eval/strategy_qa.jsonl", "strategyqa", limit=40),
    )
    twice = {(overlap.source, overlap.other): str(overlap) for overlap in training.twice()}
    assert twice.keys() == {("strategyqa", "strategyqa"), ("mmlu_dev", "mmlu_dev")}
    path = shared_data / "rationale" / "strategyqa_train.jsonl"
    assert twice["strategyqa", "strategyqa"] == f"{path}:1323 = {path}:102"
    plain = ColumnsConfig(question="origin_question", answer="origin_answer")
    tested = read(
        shared_data,
        SourceConfig("strategyqa_test", "eval/strategy_qa.jsonl", "columns", columns=plain),
        SourceConfig("with_facts", "eval/strategy_qa.jsonl", "strategyqa"),
        SourceConfig("mmlu", "eval/mmlu_test.jsonl", "mmlu"),
    )
    shared = {(each.source, each.other): each.count for each in training.also_in(tested)}
    assert shared == {("mmlu_dev", "mmlu"): 1, ("leaked", "strategyqa_test"): 40}
    bare = SourceConfig("bare", "eval/strategy_qa.jsonl", "columns", columns=plain, limit=40)
    with_facts = SourceConfig("with_facts", "eval/strategy_qa.jsonl", "strategyqa")
    (overlap,) = read(shared_data, bare).also_in(read(shared_data, with_facts))
    assert overlap.count == 40  # the evaluation rows have facts before the question


def test_joined_questions_equal_those_collected_at_once():
    one, two = {"a": ["A?", "B?", "A"]}, {"b": ["b", ("A?", ("x", "y"))], "c": ["C?"]}
    joined = questions(**one)
    joined.extend(questions())
    joined.extend(through_a_file(questions(**two)))
    tested = questions(test=["c", "a"])
    whole = questions(**one, **two)
    assert joined.twice() == whole.twice() and len(whole.twice()) == 2
    assert joined.also_in(tested) == whole.also_in(tested) and len(whole.also_in(tested)) == 3


def through_a_file(collected):
    file = io.BytesIO()
    collected.save(file)
    file.seek(0)
    return Questions.load(file)
