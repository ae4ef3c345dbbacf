"""Marks that options begin with in some datasets, such as `A) `, `(b) `, `C. ` or `1: `."""

import re
from collections.abc import Sequence

from teacherlm_jax.data.sample import LETTERS

# After a bracket white space is optional, so that "A)5" has a mark and "1.5" has none.
MARK = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})(?:[)\]]\s*|[.:]\s+)(?=\S)")

_SERIES = (
    tuple(LETTERS),
    tuple(LETTERS.lower()),
    tuple(map(str, range(1, 27))),
    tuple(map(str, range(26))),
)


def without_marks(options: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return options without their marks, and the marks' letters or numbers.

    Returns None unless every option begins with a mark and the marks form a series from the first
    letter or from 0 or 1.
    """
    marks = [MARK.match(option) for option in options]
    labels = tuple(mark[1] for mark in marks if mark)
    if len(labels) < len(options) or labels not in {series[: len(labels)] for series in _SERIES}:
        return None
    texts = [
        option[mark.end() :].strip() for option, mark in zip(options, marks, strict=True) if mark
    ]
    return texts, list(labels)
