"""The OPT that stands for a published one in the tiny form of the paper's experiment."""

import numpy as np
import pytest

from teacherlm_jax.data import synthetic
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import registry
from teacherlm_jax.pipelines import generated_model
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

TEXTS = [sample.question for sample in synthetic.generate(60, seed=0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = StoragePath(tmp_path_factory.mktemp("generated") / "opt")
    generated_model.write_opt(folder, TEXTS)
    return folder


def test_the_folder_is_read_as_a_model_with_its_tokenizer(folder):
    described = any_model.describe(str(folder))
    assert described.config.family == "opt"
    assert described.vocabulary.size == described.config.vocab_size <= 1000
    assert described.config.max_positions == registry.SHAPES["opt-tiny"].max_positions


def test_transformers_reads_the_same_tokens_and_weights(folder, torch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, vocabulary = AutoTokenizer.from_pretrained(folder), open_vocabulary(folder)
    for text in TEXTS[:9]:
        assert tokenizer.encode(text) == vocabulary.encode(text)
    model, missing = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(missing.values())
    weights = model.state_dict()
    np.testing.assert_allclose(weights["model.decoder.final_layer_norm.weight"].mean(), 1, atol=0.1)
    np.testing.assert_allclose(weights["model.decoder.embed_tokens.weight"].std(), 0.02, rtol=0.1)


def test_a_folder_that_holds_a_model_is_left_as_it_is(folder):
    path = folder / "model.safetensors"
    before = path.stat().mtime
    generated_model.write_opt(folder, [])
    assert path.stat().mtime == before and files.exists(path)
