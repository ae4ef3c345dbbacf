"""Texts of many lengths in rows of few lengths, with little padding."""

import bisect
from collections.abc import Sequence

from teacherlm_jax.models.buckets import half_step


def pack(lengths: Sequence[int], shortest: int) -> list[tuple[int, list[int]]]:
    """Return rows, the longest first: the length of each, and the indices of the texts in it.

    A row is as long as its longest text, rounded up to 2^n or 1.5 * 2^n tokens, and at least
    `shortest`. The texts are placed in the order of their lengths, the longest first, each in the
    fullest row that has room for it.
    """
    rows: list[tuple[int, list[int]]] = []
    room: list[tuple[int, int]] = []  # ascending: tokens that are left, and the index of the row
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        at = bisect.bisect_left(room, (length, 0))
        if at == len(room):
            row = len(rows)
            rows.append((half_step(length, shortest), []))
            left = rows[row][0]
        else:
            left, row = room.pop(at)
        rows[row][1].append(index)
        bisect.insort(room, (left - length, row))
    return rows
