"""Numbers with their nouns, and texts without control characters."""

import pytest

from teacherlm_jax import wording


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12345, "12,345 rows")]
)
def test_only_one_thing_has_a_noun_in_the_singular(number, words):
    assert wording.counted(number, "row") == words


def test_a_plural_may_be_irregular():
    assert [wording.counted(number, "batch", "batches") for number in (1, 3)] == [
        "1 batch",
        "3 batches",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("q1\x1b[2J\x9b2J\x07", "q1�[2J�2J�"),
        ("overwritten\rline", "overwritten�line"),
        ("one\r\ntwo\tthree\n", "one\ntwo\tthree\n"),
        ("نمی‌خواهم 👩‍🏫", "نمی‌خواهم 👩‍🏫"),
    ],
)
def test_control_characters_are_replaced_and_letters_and_line_breaks_stay(text, shown):
    assert wording.printable(text) == shown
