"""Small generated sources and a vocabulary, shared by the tests of this room."""

import pytest

from teacherlm_jax import files
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.data.vocabulary import train_sentencepiece


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Folder with `big.jsonl` of 60 samples and `small.jsonl` of 20, explained by "program"."""
    folder = tmp_path_factory.mktemp("sources")
    rows = [to_row(sample) for sample in synthetic.generate(80, seed=0)]
    files.write_jsonl(folder / "big.jsonl", rows[:60])
    files.write_jsonl(folder / "small.jsonl", rows[60:])
    return folder


@pytest.fixture(scope="session")
def vocabulary(root, tmp_path_factory):
    """A vocabulary trained on the questions of the big source."""
    texts = [row["question"] for _, row in files.read_jsonl(root / "big.jsonl")]
    return train_sentencepiece(texts, tmp_path_factory.mktemp("vocabulary"), 600, seed=0)
