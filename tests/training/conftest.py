import numpy as np
import pytest

from teacherlm_jax.data import packing
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

WORDS = [
    "red",
    "green",
    "blue",
    "one",
    "two",
    "three",
    "is",
    "not",
    "and",
    "or",
    "because",
    "so",
    "the",
    "a",
    "of",
]


@pytest.fixture(scope="session")
def prepared(write_prepared, tmp_path_factory):
    """A prepared folder of short texts: rows of 32 tokens, all of which are trained."""
    return _prepared(write_prepared, tmp_path_factory.mktemp("prepared"), trained=True)


@pytest.fixture(scope="session")
def without_loss(write_prepared, tmp_path_factory):
    """The same rows and vocabulary as `prepared`, but no token is trained."""
    return _prepared(write_prepared, tmp_path_factory.mktemp("without_loss"), trained=False)


def _prepared(write_prepared, folder, *, trained):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(120)]
    vocabulary = train_sentencepiece(texts, folder / "vocabulary", size=400, seed=0)
    encoded = []
    for text in texts:
        tokens = [*vocabulary.encode(text), vocabulary.eos_id]
        encoded.append(packing.Encoded(tokens, [trained] * len(tokens)))
    return write_prepared(folder, encoded, vocabulary, length=32)
