"""Figures of a manifest, compared with numbers computed by hand."""

import itertools

import pytest

from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.tasks import mixture_statistics
from teacherlm_jax.tasks.mixtures import MixtureText


def text(size, fields=(0, 0, 0, 0, 0), task="a/C", drop=""):
    return MixtureText(task, drop, Encoded([7] * size, [True] * size, fields))


TEXTS = (
    text(10, (4, 1, 3, 0, 0)),
    text(20, (8, 2, 8, 0, 0), task="b/CM"),
    text(33, (9, 3, 9, 0, 9), task="b/CM"),
    text(100, (90, 1, 7, 0, 0)),
    text(0, drop="no cot by teacher"),
)


def summary(too_long="drop"):
    counted = mixture_statistics.MixtureStatistics("teacher", 64, too_long, begin=0)
    kept = list(counted.fitted(TEXTS))
    rows = [{"records": 2}, {"records": 1}]
    return kept, counted.summary(64, rows)


def test_texts_and_tokens_are_counted_by_task_and_drops_by_reason():
    kept, figures = summary()
    assert [len(part.tokens) for part in kept] == [10, 20, 33]
    assert figures["tasks"] == {
        "a/C": {"texts": 1, "tokens": 10},
        "b/CM": {"texts": 2, "tokens": 53},
    }
    assert figures["drops"] == {"a/C": {"longer than 64 tokens": 1, "no cot by teacher": 1}}
    assert figures["too_long"] == {"a/C": {"drop": 1}}
    assert (figures["rows"], figures["texts"], figures["tokens"]) == (3, 3, 63)
    assert figures["filled"] == round(63 / (3 * 64), 4)


def test_tokens_are_counted_by_field_and_explanations_by_author():
    _, figures = summary()
    assert figures["statistics"]["tokens_by_field"] == {
        "question": {"count": 3, "mean": 7.0, "max": 9},
        "answer": {"count": 3, "mean": 2.0, "max": 3},
        "cot": {"teacher": {"count": 3, "mean": 6.67, "max": 9}},
        "mistake": {"teacher": {"count": 1, "mean": 9.0, "max": 9}},
    }


def test_tokens_by_field_are_also_counted_for_each_task():
    _, figures = summary()
    assert figures["statistics"]["tokens_by_task"] == {
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


def test_the_histogram_of_lengths_counts_every_text_once():
    _, figures = summary()
    edges, counts = (figures["statistics"]["lengths"][key] for key in ("edges", "counts"))
    assert edges == list(range(1, 66, 2))
    bars = zip(edges[:-1], edges[1:], counts, strict=True)
    at = {(low, high): count for low, high, count in bars if count}
    assert at == {(9, 11): 1, (19, 21): 1, (33, 35): 1}


@pytest.mark.parametrize(
    ("too_long", "sizes"), [("keep_first", [64]), ("keep_last", [64]), ("split", [64, 36])]
)
def test_truncated_and_split_texts_are_counted(too_long, sizes):
    kept, figures = summary(too_long)
    assert [len(part.tokens) for part in kept] == [10, 20, 33, *sizes]
    assert figures["too_long"] == {"a/C": {too_long: 1}}
    assert figures["drops"] == {"a/C": {"no cot by teacher": 1}}
    assert figures["tasks"]["a/C"] == {"texts": 1 + len(sizes), "tokens": 10 + sum(sizes)}
    assert figures["statistics"]["tokens_by_field"]["question"]["max"] == 90
    assert sum(figures["statistics"]["lengths"]["counts"]) == figures["texts"]


@pytest.mark.parametrize("longest", [3, 31, 33, 63, 100, 2048])
def test_the_longest_text_is_in_the_last_bar_of_the_histogram(longest):
    counted = mixture_statistics.MixtureStatistics("teacher", longest, "drop", begin=0)
    list(counted.fitted([text(2), text(longest)]))
    lengths = counted.summary(longest, [{"records": 1}])["statistics"]["lengths"]
    assert sum(lengths["counts"]) == 2
    assert lengths["counts"][-1] == 1
    assert lengths["edges"][-2] <= longest < lengths["edges"][-1]


def test_the_timer_separates_waiting_for_texts_from_the_rest(monkeypatch):
    ticks = itertools.count()  # each call adds a second: at the start, and around each text
    monkeypatch.setattr(mixture_statistics.time, "perf_counter", lambda: next(ticks))
    timer = mixture_statistics.ThroughputTimer()
    assert len(list(timer.waiting_for([text(1), text(1)]))) == 2
    assert timer.figures(6_000_000) == {
        "seconds": 6,
        "tokenised_mtokens_per_second": 3.0,
        "packed_mtokens_per_second": 1.5,
        "prepared_mtokens_per_second": 1.0,
    }


@pytest.mark.parametrize(
    ("too_long", "mask", "sizes", "dropped"),
    [
        ("keep_first", [False] * 90 + [True] * 10, [], 1),
        ("keep_last", [False] * 90 + [True] * 10, [64], 0),
        ("keep_last", [True] * 10 + [False] * 90, [], 1),
        ("split", [False] * 90 + [True] * 10, [36], 1),
        ("split", [True] * 10 + [False] * 90, [64], 1),
        ("keep_first", [True] + [False] * 99, [], 1),  # the only target is the first token
    ],
)
def test_texts_left_without_a_trained_token_are_dropped(too_long, mask, sizes, dropped):
    counted = mixture_statistics.MixtureStatistics("teacher", 64, too_long, begin=0)
    long = MixtureText("a/C", "", Encoded([7] * 100, mask, (90, 10, 0, 0, 0)))
    assert [len(part.tokens) for part in counted.fitted([long])] == sizes
    assert counted.drops == ({"a/C": {mixture_statistics.NO_LOSS: dropped}} if dropped else {})
