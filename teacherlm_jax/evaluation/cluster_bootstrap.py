"""Bootstrap intervals of accuracies, with subjects as clusters.

Questions of one subject resemble each other, so their number overstates what is known about other
subjects. The cluster bootstrap draws whole subjects with replacement (Field and Welsh 2007).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

DRAWS = 10_000
_SEED = 0
_WEIGHTS = 1_000_000  # held at once
_LIMITS = (2.5, 97.5)  # percentiles

Interval = tuple[float, float]


def micro_and_macro(counts: Sequence[tuple[int, int]]) -> tuple[Interval, Interval]:
    """Return the 95% bootstrap intervals of the accuracy and of the mean over subjects.

    The draws are the same in every call. With a single subject, questions are drawn instead, and
    both intervals are the same.

    Args:
        counts: number of right answers and of questions of each subject.
    """
    random = np.random.default_rng(_SEED)
    correct, rows = (np.array(values, np.float64) for values in zip(*counts, strict=True))
    if len(counts) == 1:
        drawn = random.binomial(counts[0][1], counts[0][0] / counts[0][1], DRAWS) / counts[0][1]
        return (interval := _interval(drawn)), interval
    micro, macro = [], []
    for draws in _portions(DRAWS, len(counts)):
        weights = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), draws)
        micro.append((weights @ correct) / (weights @ rows))
        macro.append(weights @ (correct / rows) / len(counts))
    return _interval(np.concatenate(micro)), _interval(np.concatenate(macro))


def _portions(draws: int, clusters: int) -> Iterator[int]:
    """Yield numbers of draws that add up to `draws`, each with weights of bounded size."""
    largest = max(1, _WEIGHTS // clusters)
    for start in range(0, draws, largest):
        yield min(largest, draws - start)


def _interval(values: Float64[np.ndarray, " N"]) -> Interval:
    low, high = np.percentile(values, _LIMITS).tolist()
    return low, high
