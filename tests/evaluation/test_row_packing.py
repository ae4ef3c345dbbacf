"""Texts of many lengths in rows of few lengths."""

import pytest

from teacherlm_jax.evaluation.row_packing import pack


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([], []),
        ([5], [(16, [0])]),
        ([10, 6, 7, 9], [(16, [0, 1]), (16, [3, 2])]),
        ([3, 20, 4, 16], [(24, [1, 2]), (16, [3]), (16, [0])]),
        ([16, 17, 25], [(32, [2]), (24, [1]), (16, [0])]),
    ],
)
def test_each_text_goes_into_the_fullest_row_with_room_for_it(lengths, rows):
    assert pack(lengths, 16) == rows


def test_rows_have_little_padding_and_hold_every_text_once():
    lengths = [(7 * number) % 90 + 30 for number in range(500)]
    rows = pack(lengths, 256)
    assert sorted(index for _, members in rows for index in members) == list(range(500))
    assert all(sum(lengths[index] for index in members) <= length for length, members in rows)
    assert sum(length for length, _ in rows) < 1.03 * sum(lengths)
