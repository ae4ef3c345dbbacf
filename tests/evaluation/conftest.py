"""Small random models of both families in Hugging Face folders, and real questions."""

import dataclasses
import functools
import json

import pytest

from benchmarks import pairs
from teacherlm_jax.config import BenchmarkConfig, ModelConfig
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary
from tests.bloom_tokenizer import save_bloom

QUESTIONS = 500
# Large weights: scores of options then differ by far more than rounding.
SHAPES = {
    "bloom": ModelConfig("bloom", 2, 32, 4, dtype="float32", initializer_range=0.2),
    "opt": ModelConfig("opt", 2, 32, 4, dtype="float32", initializer_range=0.2, max_positions=2048),
}


@pytest.fixture(scope="session")
def mmlu_rows(shared_data):
    """MMLU questions of all subjects, as published."""
    lines = (shared_data / "eval" / "mmlu_test.jsonl").read_text(encoding="utf-8").splitlines()
    step = len(lines) // QUESTIONS
    return [json.loads(line) for line in lines[: step * QUESTIONS : step]]


@pytest.fixture(scope="session")
def mmlu_questions(shared_data):
    """Function from the scored part of options and a number to so many real MMLU questions."""

    def read(score, count):
        config = BenchmarkConfig(
            name="mmlu",
            path="mmlu_test.jsonl",
            format="mmlu",
            score=score,
            limit=count,
            limit_by="seed",
        )
        questions = benchmarks.read(config, str(shared_data / "eval"), RefusedRows(None))
        assert len(questions) == count
        return questions

    return read


@pytest.fixture(scope="session")
def hf_folder(torch, mmlu_rows, request, tmp_path_factory):
    """Function from a family to the folder of a random model with weights and tokenizer."""

    @functools.cache
    def write(family):
        folder = tmp_path_factory.mktemp(family)
        if family == "bloom":
            save_bloom(folder / "tokenizer", [row["question"] for row in mmlu_rows], 2000)
            vocabulary = open_vocabulary(folder / "tokenizer")
        else:
            vocabulary = open_vocabulary(request.getfixturevalue("opt_folder"))
        shape = dataclasses.replace(SHAPES[family], vocab_size=vocabulary.size)
        reference = pairs.make(shape).reference
        for config in (reference.config, reference.generation_config):
            for name in ("bos_token", "eos_token", "pad_token"):
                setattr(config, f"{name}_id", vocabulary.named_ids()[name])
        reference.save_pretrained(folder)
        vocabulary.save_pretrained(folder)
        return folder

    return write
