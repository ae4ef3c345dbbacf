"""Real texts, and tokenizer folders like BLOOM's in the format of transformers."""

import json

import pytest

from tests.bloom_tokenizer import save_bloom


@pytest.fixture(scope="session")
def real_texts(shared_data):
    """A thousand texts from five datasets: questions, answers and explanations."""
    texts = []
    for path in sorted((shared_data / "rationale").glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(next(file)) for _ in range(100)]
        values = [value for row in rows for value in row.values()]
        texts += [value for value in values if isinstance(value, str) and value][:200]
    assert len(texts) == 1000
    return texts


@pytest.fixture(scope="session")
def make_bloom():
    """A function that trains a tokenizer of a given size like BLOOM's, and saves it in a folder."""
    return save_bloom


@pytest.fixture(scope="session")
def bloom_folder(make_bloom, real_texts, tmp_path_factory):
    """A tokenizer like BLOOM's with 2,000 ids, trained on the real texts."""
    folder = tmp_path_factory.mktemp("bloom")
    make_bloom(folder, real_texts, 2000)
    return folder


@pytest.fixture(scope="session")
def toy_folder(make_bloom, tmp_path_factory):
    """A small tokenizer whose merges produce `</s>`, because its training texts often spell it."""
    folder = tmp_path_factory.mktemp("toy")
    make_bloom(folder, ["a </s></s></s> b"] * 9, 300)
    return folder
