"""Texts that are longer than a row: dropped, truncated or split, and only when told."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.config import MixtureConfig, fields
from teacherlm_jax.data import packing
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.errors import UserError

LENGTH = 16
BEGIN, END = 2, 1


@st.composite
def whole_texts(draw):
    """Texts longer than a row or not, with one id before them and one behind; ids are unique."""
    sizes = draw(st.lists(st.integers(1, 4 * LENGTH), max_size=12))
    made, start = [], 3
    for size in sizes:
        mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        made.append(Encoded([BEGIN, *range(start, start + size), END], [False, *mask, True]))
        start += size
    return made


def fitted(text, longest, too_long):
    return [
        (list(part.tokens), list(part.loss_mask))
        for part in packing.fit(text, longest, too_long, begin=1)
    ]


@pytest.mark.parametrize("too_long", packing.TOO_LONG)
@given(texts=whole_texts(), longest=st.integers(2, LENGTH))
def test_only_texts_that_are_too_long_are_cut_and_as_told(too_long, texts, longest):
    for text in texts:
        tokens, mask = list(text.tokens), list(text.loss_mask)
        found = fitted(text, longest, too_long)
        if len(tokens) <= longest:
            assert found == [(tokens, mask)]
        elif too_long == "drop":
            assert found == []
        elif too_long == "keep_first":
            assert found == [(tokens[:longest], mask[:longest])]
        elif too_long == "keep_last":
            kept = longest - 1
            assert found == [([BEGIN, *tokens[-kept:]], [False, *mask[-kept:]])]
        else:
            assert [BEGIN, *(id for part, _ in found for id in part[1:])] == tokens
            assert [False, *(on for _, part in found for on in part[1:])] == mask
            assert all(part[0] == BEGIN and not on[0] for part, on in found)
            assert all(len(part) == longest for part, _ in found[:-1])
            assert 1 < len(found[-1][0]) <= longest


@given(texts=whole_texts(), longest=st.integers(2, LENGTH), window=st.integers(1, 8))
def test_split_texts_lose_nothing_and_double_nothing_in_the_rows(texts, longest, window):
    parts = [part for text in texts for part in packing.fit(text, longest, "split", begin=1)]
    rows = packing.pack(parts, LENGTH, window)
    found = [
        row.tokens[row.segment_ids == segment].tolist()
        for row in rows
        for segment in range(1, row.segment_ids.max() + 1)
    ]
    assert sorted(id for segment in found for id in segment if id > BEGIN) == [
        id for text in texts for id in text.tokens[1:-1]
    ]
    assert [segment.count(BEGIN) for segment in found] == [1] * len(found)
    ended = [segment for segment in found if END in segment]
    assert len(ended) == len(texts)
    assert all(segment.index(END) == len(segment) - 1 for segment in ended)


@pytest.mark.parametrize(
    ("too_long", "wanted"),
    [
        ("drop", []),
        ("keep_first", [[BEGIN, 5, 6, 7]]),
        ("keep_last", [[BEGIN, 9, 10, END]]),
        ("split", [[BEGIN, 5, 6, 7], [BEGIN, 8, 9, 10], [BEGIN, END]]),
    ],
)
def test_a_text_that_is_too_long_becomes(too_long, wanted):
    text = Encoded([BEGIN, 5, 6, 7, 8, 9, 10, END], [False] + [True] * 7)
    assert [tokens for tokens, _ in fitted(text, 4, too_long)] == wanted


def test_nothing_begins_a_text_unless_the_vocabulary_says_so():
    text = Encoded([5, 6, 7, 8, 9, END], [True] * 6)
    (kept,) = packing.fit(text, 4, "keep_last")
    assert kept.tokens.tolist() == [7, 8, 9, END]
    first, second = packing.fit(text, 4, "split")
    assert (first.tokens.tolist(), second.tokens.tolist()) == ([5, 6, 7, 8], [9, END])


def test_the_choices_of_the_config_are_all_there_are():
    (field,) = (each for each in dataclasses.fields(MixtureConfig) if each.name == "too_long")
    assert set(field.metadata["choices"]) == set(packing.TOO_LONG)


@pytest.mark.parametrize(("old", "new"), [("left", "keep_first"), ("right", "keep_last")])
def test_an_old_name_is_an_error_that_says_the_new_one(old, new):
    with pytest.raises(UserError, match=rf"too_long: '{old}' is now named '{new}'"):
        fields.check(MixtureConfig("mix", too_long=old))
