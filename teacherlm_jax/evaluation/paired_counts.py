"""Numbers of questions that only one of two models answers right, counted once for all pairs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64


class RightAnswers:
    """Numbers of right answers of all models, computed once for all pairs."""

    def __init__(self, tables: Sequence[Float64[np.ndarray, "_ questions"]]):
        """Count the questions that each two seeds both answer right.

        `tables` are the answers of each model, 1 or 0, of the shape [seeds, questions].
        """
        rows = np.concatenate(tables)
        ends = np.cumsum([len(table) for table in tables])
        self._rows_of = [
            slice(end - len(table), end) for end, table in zip(ends, tables, strict=True)
        ]
        self._right, self._both = rows.sum(axis=1), rows @ rows.T  # whole numbers

    def by_seeds(self, one: int, other: int) -> list[tuple[int, int]]:
        """Return how many questions only the first and only the second model answers right.

        Pairs the first seeds of both models, their second ones, and so on, as many as both have.
        """
        first, second = self._rows_of[one], self._rows_of[other]
        both = self._both[first, second].diagonal()
        pairs = zip(self._right[first], self._right[second], both, strict=False)
        return [(round(a - shared), round(b - shared)) for a, b, shared in pairs]

    def means(self, one: int, other: int) -> tuple[float, float]:
        """Return the same numbers as means over all pairs of seeds."""
        first, second = self._rows_of[one], self._rows_of[other]
        both = float(self._both[first, second].mean())
        right = (float(self._right[own].mean()) for own in (first, second))
        only_first, only_second = (max(0.0, number - both) for number in right)
        return only_first, only_second
