"""ALiBi: attention with linear biases (arXiv 2108.12409) instead of position embeddings.

Head n adds `-slope[n] * (query position - key position)` to its scores before the softmax.
"""

import math

import numpy as np
from jaxtyping import Float


def slopes(heads: int) -> Float[np.ndarray, " N"]:
    """Return the slopes of `heads` heads, float32, all positive.

    A power of two gets 2^(-8i/heads), i = 1..heads. Any other number gets the slopes of the next
    lower power of two, then every other slope of the next higher one, as BLOOM does.
    """
    lower = 2 ** math.floor(math.log2(heads))
    extra = _geometric(2 * lower)[::2][: heads - lower]
    return np.concatenate([_geometric(lower), extra]).astype(np.float32)


def _geometric(heads: int) -> Float[np.ndarray, " N"]:
    return 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
