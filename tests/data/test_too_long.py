"""Texts that are longer than a row are dropped, truncated or split as the config says."""

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
    """Texts of any length with unique ids between a `begin` id and an `eos` id."""
    sizes = draw(st.lists(st.integers(1, 4 * LENGTH), max_size=12))
    texts, start = [], 3
    for size in sizes:
        mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        texts.append(Encoded([BEGIN, *range(start, start + size), END], [False, *mask, True]))
        start += size
    return texts


def fitted(text, longest, too_long):
    return [
        (list(part.tokens), list(part.loss_mask))
        for part in packing.fit(text, longest, too_long, begin=1)
    ]


@pytest.mark.parametrize("too_long", packing.TOO_LONG)
@given(texts=whole_texts(), longest=st.integers(2, LENGTH))
def test_only_texts_that_are_too_long_are_changed_by_the_policy(too_long, texts, longest):
    for text in texts:
        tokens, mask = list(text.tokens), list(text.loss_mask)
        parts = fitted(text, longest, too_long)
        if len(tokens) <= longest:
            assert parts == [(tokens, mask)]
        elif too_long == "drop":
            assert parts == []
        elif too_long == "keep_first":
            assert parts == [(tokens[:longest], mask[:longest])]
        elif too_long == "keep_last":
            kept = longest - 1
            assert parts == [([BEGIN, *tokens[-kept:]], [False, *mask[-kept:]])]
        else:
            assert [BEGIN, *(id for part, _ in parts for id in part[1:])] == tokens
            assert [False, *(on for _, part in parts for on in part[1:])] == mask
            assert all(part[0] == BEGIN and not on[0] for part, on in parts)
            assert all(len(part) == longest for part, _ in parts[:-1])
            assert 1 < len(parts[-1][0]) <= longest


@given(texts=whole_texts(), longest=st.integers(2, LENGTH), window=st.integers(1, 8))
def test_splitting_keeps_every_token_once(texts, longest, window):
    parts = [part for text in texts for part in packing.fit(text, longest, "split", begin=1)]
    rows = packing.pack(parts, LENGTH, window)
    segments = [
        row.tokens[row.segment_ids == segment].tolist()
        for row in rows
        for segment in range(1, row.segment_ids.max() + 1)
    ]
    assert sorted(id for segment in segments for id in segment if id > BEGIN) == [
        id for text in texts for id in text.tokens[1:-1]
    ]
    assert [segment.count(BEGIN) for segment in segments] == [1] * len(segments)
    ended = [segment for segment in segments if END in segment]
    assert len(ended) == len(texts)
    assert all(segment.index(END) == len(segment) - 1 for segment in ended)


@pytest.mark.parametrize(
    ("too_long", "expected"),
    [
        ("drop", []),
        ("keep_first", [[BEGIN, 5, 6, 7]]),
        ("keep_last", [[BEGIN, 9, 10, END]]),
        ("split", [[BEGIN, 5, 6, 7], [BEGIN, 8, 9, 10], [BEGIN, END]]),
    ],
)
def test_each_policy_gives_the_expected_parts(too_long, expected):
    text = Encoded([BEGIN, 5, 6, 7, 8, 9, 10, END], [False] + [True] * 7)
    assert [tokens for tokens, _ in fitted(text, 4, too_long)] == expected


def test_parts_start_without_a_begin_id_if_the_vocabulary_has_none():
    text = Encoded([5, 6, 7, 8, 9, END], [True] * 6)
    (kept,) = packing.fit(text, 4, "keep_last")
    assert kept.tokens.tolist() == [7, 8, 9, END]
    first, second = packing.fit(text, 4, "split")
    assert (first.tokens.tolist(), second.tokens.tolist()) == ([5, 6, 7, 8], [9, END])


def test_the_config_offers_every_policy():
    (field,) = (field for field in dataclasses.fields(MixtureConfig) if field.name == "too_long")
    assert set(field.metadata["choices"]) == set(packing.TOO_LONG)


@pytest.mark.parametrize(("old", "new"), [("left", "keep_first"), ("right", "keep_last")])
def test_an_old_name_is_an_error_that_says_the_new_one(old, new):
    with pytest.raises(UserError, match=rf"too_long: '{old}' is now named '{new}'"):
        fields.check(MixtureConfig("mix", too_long=old))
