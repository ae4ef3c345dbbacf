"""Percentiles of the lengths of texts, from the number of texts of each length."""

from collections.abc import Mapping


def percentile(lengths: Mapping[int, int], share: float) -> int:
    """Return the smallest length that at least `share` (from 0 to 1) of the texts do not exceed.

    `lengths` is the number of texts by length. Raises ValueError if there are none.
    """
    left = share * sum(lengths.values())
    for length in sorted(lengths):
        left -= lengths[length]
        if left <= 0:
            return length
    if not lengths:
        raise ValueError("expected at least one length, got none")
    return max(lengths)
