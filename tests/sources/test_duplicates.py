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
    """Questions, or pairs of question and options, of each source, as lines of one file."""
    found = Questions()
    for source, asked in sources.items():
        for line, each in enumerate(asked, start=1):
            question, options = (each, ()) if isinstance(each, str) else each
            answer = "(A)" if options else "x"
            sample = Sample(id=str(line), question=question, answer=answer, options=options)
            found.add(source, RowLocation(f"{source}.jsonl", line), sample)
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is ice cold?", "  is ICE\n cold ?"),
        ("Is ice cold?", "“Is ice cold”"),
        ("Die Straße.", "DIE STRASSE"),
        ("…", "…"),
    ],
)
def test_questions_are_the_same_whatever_their_case_spaces_and_ends(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Is ice cold?", "Is ice old?"), ("1.5?", "15?"), ("!", "?"), ("C+", "C")]
)
def test_questions_that_differ_stay_apart(one, other):
    assert normalised(one) != normalised(other)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    assert normalised(normalised(text)) == normalised(text)


def test_duplicates_are_counted_with_their_locations():
    found = questions(a=["One?", "Two?", "one"], b=["Three?", "TWO", "One"])
    assert found.twice() == [
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
    assert str(found.twice()[0]) == "a.jsonl:3 = a.jsonl:1"
    assert Questions().twice() == []


def test_a_question_with_other_options_is_not_a_duplicate():
    asked = [("Which?", ("x", "y")), ("Which?", ("x", "z")), ("Which?", ("Y", "x"))]
    (shared,) = questions(a=asked).twice()
    assert shared.places == ((RowLocation("a.jsonl", 3), RowLocation("a.jsonl", 1)),)


def test_all_duplicates_are_counted_and_the_first_are_shown():
    (shared,) = questions(a=["Same?"] * 10).twice()
    assert shared.count == 9
    assert [here.line for here, _ in shared.places] == [2, 3, 4][:SHOWN]


def test_questions_that_are_in_another_set_are_found_whatever_their_options():
    training = questions(a=["One?", "Two?"], b=[("Two?", ("x", "y"))])
    tested = questions(test=["Nought?", "TWO", "Two?"], dev=["Two?"])
    found = training.also_in(tested)
    assert [(each.source, each.other, each.count) for each in found] == [
        ("a", "test", 1),
        ("b", "test", 1),
    ]
    assert found[0].places == ((RowLocation("a.jsonl", 2), RowLocation("test.jsonl", 2)),)
    assert training.also_in(Questions()) == Questions().also_in(training) == []


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_every_shared_question_is_counted_and_no_other(training, tested):
    found = questions(a=[f"Is it {n}?" for n in training])
    twice = sum(shared.count for shared in found.twice())
    assert twice == len(training) - len(set(training))
    shared = found.also_in(questions(test=[f"Is it {n}?" for n in tested]))
    assert sum(each.count for each in shared) == sum(n in tested for n in training)


def read(root, *sources):
    found = Questions()
    for config in sources:
        for place, sample in SourceReading(config, str(root)).first(RefusedRows(None)):
            found.add(config.name, place, sample)
    return found


def test_questions_that_the_real_sets_share_are_found(shared_data):
    training = read(
        shared_data,
        SourceConfig("strategyqa", "rationale/strategyqa_train.jsonl", "cot"),
        SourceConfig("mmlu_dev", "eval/mmlu_dev.jsonl", "mmlu"),
        SourceConfig("leaked", "eval/strategy_qa.jsonl", "strategyqa", limit=40),
    )
    twice = {(each.source, each.other): str(each) for each in training.twice()}
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
    found = {(each.source, each.other): each.count for each in training.also_in(tested)}
    assert found == {("mmlu_dev", "mmlu"): 1, ("leaked", "with_facts"): 40}


def test_questions_of_several_readings_equal_those_of_one():
    one, two = {"a": ["A?", "B?", "A"]}, {"b": ["b", ("A?", ("x", "y"))], "c": ["C?"]}
    joined = questions(**one)
    joined.extend(questions())
    joined.extend(through_a_file(questions(**two)))
    tested = questions(test=["c", "a"])
    whole = questions(**one, **two)
    assert joined.twice() == whole.twice() and len(whole.twice()) == 2
    assert joined.also_in(tested) == whole.also_in(tested) and len(whole.also_in(tested)) == 3


def through_a_file(found):
    file = io.BytesIO()
    found.save(file)
    file.seek(0)
    return Questions.load(file)
