"""Packing: every text once and unchanged in a segment of its own, and rows that are nearly full."""

import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.prompts import Piece
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources import reading
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

LENGTH = 16


class Letters:
    """A vocabulary with one id per character, so that boundaries between pieces are visible."""

    eos_id = 1
    begin: tuple[int, ...] = ()

    def encode(self, text):
        return [ord(character) for character in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]


@st.composite
def texts(draw):
    """Texts with unique tokens, so that a lost or duplicate token is noticed."""
    sizes = draw(st.lists(st.integers(1, LENGTH), max_size=40))
    encoded, start = [], 3
    for size in sizes:
        mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        encoded.append(Encoded(list(range(start, start + size)), mask))
        start += size
    return encoded


def unpacked(row):
    """Return the tokens, loss mask and positions of each text in a row."""
    count = row.segment_ids.max()
    masks = [row.segment_ids == segment for segment in range(1, count + 1)]
    return [(tuple(row.tokens[at]), tuple(row.loss_mask[at]), row.positions[at]) for at in masks]


@given(texts=texts(), window=st.integers(1, 8))
def test_packing_keeps_every_text_whole_and_once(texts, window):
    rows = list(packing.pack(texts, LENGTH, window))
    packed = [(tokens, mask) for row in rows for tokens, mask, _ in unpacked(row)]
    expected = [(tuple(text.tokens), tuple(text.loss_mask)) for text in texts]
    assert collections.Counter(packed) == collections.Counter(expected)


@given(texts=texts())
def test_a_row_gives_back_the_tokens_of_each_text(texts):
    for row in packing.pack(texts, LENGTH):
        expected = [tokens for tokens, _, _ in unpacked(row)]
        assert [tuple(tokens) for tokens in packing.texts(row)] == expected


@given(texts=texts(), window=st.integers(1, 8))
def test_segment_ids_start_at_one_and_positions_restart_in_each_text(texts, window):
    for row in packing.pack(texts, LENGTH, window):
        used = int((row.segment_ids > 0).sum())
        assert (np.diff(row.segment_ids[:used]) >= 0).all()
        assert set(row.segment_ids[:used]) == set(range(1, row.segment_ids.max() + 1))
        for _, _, positions in unpacked(row):
            assert positions.tolist() == list(range(len(positions)))
        for name in ("tokens", "segment_ids", "positions", "loss_mask"):
            value = getattr(row, name)
            assert value.shape == (LENGTH,)
            assert not value[used:].any()
            assert value.dtype == (bool if name == "loss_mask" else np.int32)


@given(texts=texts())
def test_a_row_is_unchanged_by_a_round_trip_through_bytes(texts):
    for row in packing.pack(texts, LENGTH):
        decoded = packing.from_bytes(packing.to_bytes(row), LENGTH)
        for name in ("tokens", "segment_ids", "positions", "loss_mask"):
            np.testing.assert_array_equal(getattr(decoded, name), getattr(row, name))
            assert getattr(decoded, name).dtype == getattr(row, name).dtype


def test_a_text_goes_to_the_row_in_which_it_leaves_the_least_room():
    sizes = (10, 12, 4, 6)  # the 4 fits after both and fills the row of the 12
    texts = [Encoded([size] * size, [True] * size) for size in sizes]
    rows = [[len(tokens) for tokens, _, _ in unpacked(row)] for row in packing.pack(texts, 16)]
    assert rows == [[12, 4], [10, 6]]


def test_a_full_window_finishes_its_fullest_row():
    sizes = (9, 12, 10)
    texts = [Encoded([size] * size, [True] * size) for size in sizes]
    rows = [[len(tokens) for tokens, _, _ in unpacked(row)] for row in packing.pack(texts, 16, 2)]
    assert rows == [[12], [9], [10]]


def test_at_most_512_rows_are_open_at_the_same_time():
    texts = iter([Encoded([5] * 9, [True] * 9)] * 1000)  # no two fit one row
    next(packing.pack(texts, LENGTH))
    assert len(list(texts)) == 1000 - 513


def test_texts_and_rows_are_immutable_and_a_row_equals_only_itself():
    text = Encoded([5, 6], [True, True])
    row, twin = (next(packing.pack([text], LENGTH)) for _ in range(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        text.tokens = [7]
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.tokens = row.positions
    assert row == row and row != twin


@pytest.mark.parametrize("size", [0, LENGTH + 1])
def test_a_text_that_fits_no_row_is_an_error(size):
    with pytest.raises(ValueError, match=f"a text of {size} tokens does not fit rows of 16"):
        list(packing.pack([Encoded([5] * size, [True] * size)], LENGTH))


def test_a_row_without_texts_is_unchanged_by_a_round_trip_through_bytes():
    zeros = np.zeros(LENGTH, np.int32)
    record = packing.to_bytes(packing.PackedRow(zeros, zeros, zeros, zeros.astype(bool)))
    decoded = packing.from_bytes(record, LENGTH)
    for name in ("tokens", "segment_ids", "positions", "loss_mask"):
        assert getattr(decoded, name).shape == (LENGTH,)
        assert not getattr(decoded, name).any()


@pytest.mark.parametrize("end", [0, 3, 4, 11, -1])
def test_a_truncated_record_is_an_error(end):
    text = Encoded([7] * 9, [True] * 9)
    record = packing.to_bytes(next(packing.pack([text], LENGTH)))
    with pytest.raises(ValueError, match="a record"):
        packing.from_bytes(record[:end], LENGTH)
    with pytest.raises(ValueError, match="9 tokens, rows have 8"):
        packing.from_bytes(record, 8)


PIECES = (
    Piece("Q", "question"),
    Piece("A", "answer"),
    Piece(").", "trigger"),
    Piece(" T", "trigger"),
    Piece(" e", "explanation"),
)


@pytest.mark.parametrize(
    ("loss", "pieces", "with_loss"),
    [
        ("text", PIECES, "QA). T e$"),
        ("answer", PIECES, "A"),
        ("answer_and_explanations", PIECES, "A e$"),
        ("text", PIECES[:3], "QA).$"),
        ("answer", PIECES[:3], "A"),
        ("answer", PIECES[:2], "A$"),
    ],
)
def test_pieces_with_the_chosen_roles_are_trained_and_eos_as_the_last_piece(
    loss, pieces, with_loss
):
    encoded = packing.encode_pieces(pieces, Letters(), loss)
    assert encoded.tokens[-1] == Letters.eos_id
    shown = "".join(chr(token) for token in encoded.tokens[:-1]) + "$"
    kept = "".join(character for character, on in zip(shown, encoded.loss_mask, strict=True) if on)
    assert kept == with_loss


class LettersWithBegin(Letters):
    """A vocabulary with two `begin` ids before every text."""

    begin = (2, 0)


class Forgetful(Letters):
    """A vocabulary that returns the ids of all texts but the last."""

    def encode_batch(self, texts):
        return super().encode_batch(texts[:-1])


def test_a_vocabulary_that_loses_a_text_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        packing.encode_pieces(PIECES, Forgetful(), "text")


@pytest.mark.parametrize(
    ("mask", "trained"),
    [
        ([False, False, False], False),
        ([True, False, False], False),  # the first token has no context to predict it from
        ([False, True, False], True),
        ([False, False, True], True),
        ([True], False),
    ],
)
def test_a_text_is_trained_if_a_token_after_the_first_is(mask, trained):
    assert packing.has_trained_token(Encoded([5] * len(mask), mask)) is trained


@pytest.mark.parametrize("loss", packing.LOSSES)
def test_begin_ids_come_first_and_are_not_trained(loss):
    plain = packing.encode_pieces(PIECES, Letters(), loss)
    with_begin = packing.encode_pieces(PIECES, LettersWithBegin(), loss)
    assert with_begin.tokens == [2, 0, *plain.tokens]
    assert with_begin.loss_mask == [False, False, *plain.loss_mask]


SAMPLES = (
    Sample(id="a", question="1+1?", answer="2", explanations={"cot": {"human": "Count."}}),
    Sample(
        id="b",
        question="Blue?",
        answer="(B)",
        options=("grass", "sky"),
        explanations={"cot": {"human": "Look up."}},
    ),
)


IDS = {
    "Q: 1+1? A:": [11, 12],
    " 2": [13],
    "Q: Blue? (A) grass (B) sky A: The answer is (": [21, 22, 23],
    "B": [24],
    ").": [25],
    " Let's think step by step.": [31, 32],
    " Count.": [33],
    " Look up.": [34, 35],
}


class Table(Letters):
    """A vocabulary that knows only the pieces of SAMPLES, with the id 2 before every text."""

    begin = (2,)

    def encode(self, text):
        return IDS[text]


# Both samples in the form C in a row of 20 tokens. The first is 2 (begin), 11 12 (question), 13
# (answer), 31 32 (trigger), 33 (explanation), 1 (eos); the second has 25 after its answer.
TOKENS = [2, 11, 12, 13, 31, 32, 33, 1, 2, 21, 22, 23, 24, 25, 31, 32, 34, 35, 1, 0]
SEGMENTS = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0]
POSITIONS = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]
WEIGHTS = {
    "text": [0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
    "answer": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    "answer_and_explanations": [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0],
}


@pytest.mark.parametrize("loss", packing.LOSSES)
def test_a_packed_row_equals_one_written_by_hand(loss):
    texts = [
        packing.encode_pieces(prompts.pieces(sample, "C", "human"), Table(), loss)
        for sample in SAMPLES
    ]
    (row,) = packing.pack(texts, 20)
    assert row.tokens.tolist() == TOKENS
    assert row.segment_ids.tolist() == SEGMENTS
    assert row.positions.tolist() == POSITIONS
    assert row.loss_mask.astype(int).tolist() == WEIGHTS[loss]


# The same without explanations: `eos` follows the answer, or the bracket after it.
WEIGHTS_OF_ANSWERS = {
    "text": [0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1],
    "answer": [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0],
    "answer_and_explanations": [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0],
}


@pytest.mark.parametrize("loss", packing.LOSSES)
def test_a_packed_row_of_answers_equals_one_written_by_hand(loss):
    texts = [
        packing.encode_pieces(prompts.pieces(sample, "text", "human"), Table(), loss)
        for sample in SAMPLES
    ]
    (row,) = packing.pack(texts, 12)
    assert row.tokens.tolist() == [2, 11, 12, 13, 1, 2, 21, 22, 23, 24, 25, 1]
    assert row.segment_ids.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]
    assert row.loss_mask.astype(int).tolist() == WEIGHTS_OF_ANSWERS[loss]


def test_texts_are_encoded_in_a_batch_as_alone(opt_folder):
    vocabulary = open_vocabulary(opt_folder)
    texts = [(Piece(f"Q: {word} </s>", "question"), Piece(" A", "answer")) for word in "aabc"]
    alone = [packing.encode_pieces(text, vocabulary, "answer") for text in texts]
    assert packing.encode_texts(texts, vocabulary, "answer") == alone
    spelled = [*vocabulary.encode("Q: a </s>"), *vocabulary.encode(" A")]
    assert alone[0].tokens == [2, *spelled, 2]


def test_tokens_are_counted_by_field():
    first, second = packing.encode_texts(
        [prompts.pieces(sample, "C", "human") for sample in SAMPLES], Table(), "text"
    )
    assert dict(zip(packing.FIELDS, first.field_tokens, strict=True)) == {
        "question": 2,
        "answer": 1,
        "cot": 1,
        "fundamental": 0,
        "mistake": 0,
    }
    assert second.field_tokens == (3, 1, 2, 0, 0)


def test_rows_of_real_rationales_are_at_least_97_percent_full(shared_data, opt_folder):
    """Five datasets with human chains of thought, tokenized with OPT's vocabulary."""
    vocabulary = open_vocabulary(opt_folder)
    source = SourceConfig(name="real", path="rationale/*.jsonl", format="cot")
    samples = reading.read_samples(source, str(shared_data), RefusedRows(None))
    pieces = [prompts.pieces(sample, "C", "human") for sample in samples]
    texts = packing.encode_texts(pieces, vocabulary, "text")
    kept = [text for text in texts if packing.fit(text, 2048, "drop")]
    rows = list(packing.pack(kept, 2048))
    filled = sum(len(text.tokens) for text in kept) / (len(rows) * 2048)
    print(f"{len(kept)} of {len(texts)} texts in {len(rows)} rows, {100 * filled:.2f} % filled")
    assert filled >= 0.97
    assert sum(int((row.segment_ids > 0).sum()) for row in rows) == sum(
        len(text.tokens) for text in kept
    )
