"""A manifest's figures, against numbers worked out by hand."""

import itertools

import pytest

from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.tasks import tally
from teacherlm_jax.tasks.mixtures import Text


def text(size, fields=(0, 0, 0, 0, 0), task="a/C", drop=""):
    return Text(task, drop, Encoded([7] * size, [True] * size, fields))


TEXTS = (
    text(10, (4, 1, 3, 0, 0)),
    text(20, (8, 2, 8, 0, 0), task="b/CM"),
    text(33, (9, 3, 9, 0, 9), task="b/CM"),
    text(100, (90, 1, 7, 0, 0)),
    text(0, drop="no cot by teacher"),
)


def summary(too_long="drop"):
    counted = tally.Tally("teacher", 64, too_long, begin=0)
    kept = list(counted.kept(TEXTS))
    rows = [{"records": 2}, {"records": 1}]
    return kept, counted.summary(64, rows)


def test_texts_and_tokens_are_counted_by_task_and_drops_by_reason():
    kept, told = summary()
    assert [len(each.tokens) for each in kept] == [10, 20, 33]
    assert told["tasks"] == {"a/C": {"texts": 1, "tokens": 10}, "b/CM": {"texts": 2, "tokens": 53}}
    assert told["drops"] == {"a/C": {"longer than 64 tokens": 1, "no cot by teacher": 1}}
    assert told["too_long"] == {"a/C": {"drop": 1}}
    assert (told["rows"], told["texts"], told["tokens"]) == (3, 3, 63)
    assert told["filled"] == round(63 / (3 * 64), 4)


def test_tokens_are_told_by_field_and_explanations_by_author():
    _, told = summary()
    assert told["statistics"]["tokens_by_field"] == {
        "question": {"count": 3, "mean": 7.0, "max": 9},
        "answer": {"count": 3, "mean": 2.0, "max": 3},
        "cot": {"teacher": {"count": 3, "mean": 6.67, "max": 9}},
        "mistake": {"teacher": {"count": 1, "mean": 9.0, "max": 9}},
    }


def test_tokens_by_field_are_told_of_every_task_too():
    _, told = summary()
    assert told["statistics"]["tokens_by_task"] == {
        "a/C": {
            "question": {"count": 1, "mean": 4.0, "max": 4},
            "answer": {"count": 1, "mean": 1.0, "max": 1},
            "cot": {"teacher": {"count": 1, "mean": 3.0, "max": 3}},
        },
        "b/CM": {
            "question": {"count": 2, "mean": 8.5, "max": 9},
            "answer": {"count": 2, "mean": 2.5, "max": 3},
            "cot": {"teacher": {"count": 2, "mean": 8.5, "max": 9}},
            "mistake": {"teacher": {"count": 1, "mean": 9.0, "max": 9}},
        },
    }


def test_lengths_are_told_as_a_histogram_in_which_every_text_stands_once():
    _, told = summary()
    edges, counts = (told["statistics"]["lengths"][key] for key in ("edges", "counts"))
    assert edges == list(range(1, 66, 2))
    bars = zip(edges[:-1], edges[1:], counts, strict=True)
    at = {(low, high): count for low, high, count in bars if count}
    assert at == {(9, 11): 1, (19, 21): 1, (33, 35): 1}


@pytest.mark.parametrize(
    ("too_long", "sizes"), [("left", [64]), ("right", [64]), ("split", [64, 36])]
)
def test_what_is_made_of_texts_that_are_too_long_is_counted(too_long, sizes):
    kept, told = summary(too_long)
    assert [len(each.tokens) for each in kept] == [10, 20, 33, *sizes]
    assert told["too_long"] == {"a/C": {too_long: 1}}
    assert told["drops"] == {"a/C": {"no cot by teacher": 1}}
    assert told["tasks"]["a/C"] == {"texts": 1 + len(sizes), "tokens": 10 + sum(sizes)}
    assert told["statistics"]["tokens_by_field"]["question"]["max"] == 90
    assert sum(told["statistics"]["lengths"]["counts"]) == told["texts"]


@pytest.mark.parametrize("longest", [2, 31, 33, 63, 100, 2048])
def test_the_longest_text_has_its_place_in_the_histogram(longest):
    counted = tally.Tally("teacher", longest, "drop", begin=0)
    list(counted.kept([text(1), text(longest)]))
    lengths = counted.summary(longest, [{"records": 1}])["statistics"]["lengths"]
    assert sum(lengths["counts"]) == 2
    assert lengths["counts"][-1] == 1
    assert lengths["edges"][-2] <= longest < lengths["edges"][-1]


def test_the_clock_parts_the_time_for_texts_from_the_rest(monkeypatch):
    ticks = itertools.count()  # a second at each look: start, and before and after each text
    monkeypatch.setattr(tally.time, "perf_counter", lambda: next(ticks))
    clock = tally.Clock()
    assert len(list(clock.waiting_for([text(1), text(1)]))) == 2
    assert clock.told(6_000_000) == {
        "seconds": 6,
        "tokenised_mtokens_per_second": 3.0,
        "packed_mtokens_per_second": 1.5,
        "prepared_mtokens_per_second": 1.0,
    }
