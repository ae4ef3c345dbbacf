"""Remedies that error messages of conversions suggest, and refusals that leave no files."""

import re
import shutil

import jax.numpy as jnp
import pytest
from flax import nnx
from transformers import AutoModelForCausalLM, AutoTokenizer

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.hf import load
from teacherlm_jax.models import registry
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.hf.folders import (
    MESH_FLAGS,
    NORM,
    cut_weights,
    edit_config,
    edit_weights,
    loaded,
)


@pytest.fixture
def own_run(tmp_path):
    """Run folder of a model with a SentencePiece vocabulary."""
    run = tmp_path / "run"
    vocabulary = train_sentencepiece(["one two three"] * 9, run / "vocabulary", size=400, seed=0)
    config = ModelConfig("bloom", 2, 32, 4, vocab_size=408)
    params = nnx.to_pure_dict(nnx.state(registry.build(config, nnx.Rngs(0))))
    checkpoints = Checkpoints(run, keep=1)
    meta = {"model": vars(config), "vocabulary": vocabulary.digest}
    checkpoints.save(7, params, {"step": jnp.int32(7)}, meta)
    checkpoints.close()
    return run


@pytest.mark.usefixtures("torch")
def test_an_export_saved_again_by_transformers_is_imported_after_copying_the_two_named_files(
    own_run, convert, tmp_path
):
    export, again = tmp_path / "export", tmp_path / "again"
    assert convert(own_run, export, *MESH_FLAGS) == (0, "")
    AutoModelForCausalLM.from_pretrained(export).save_pretrained(again)
    AutoTokenizer.from_pretrained(export).save_pretrained(again)
    status, message = convert(again, tmp_path / "back", *MESH_FLAGS)
    assert (status, (tmp_path / "back").exists()) == (2, False)
    assert "was exported from a SentencePiece vocabulary" in message
    names = re.search(r"copy (\S+) and (\S+) from the exported folder", message).groups()
    for name in names:
        shutil.copy(export / name, again / name)
    assert convert(again, tmp_path / "back", *MESH_FLAGS) == (0, "")
    after, before = loaded(tmp_path / "back"), loaded(own_run)
    assert (after.digest, after.vocabulary.digest) == (before.digest, before.vocabulary.digest)


def test_a_source_that_changes_while_it_is_read_leaves_no_output(
    pair_of, save, convert, tmp_path, monkeypatch
):
    source = save(pair_of("bloom"))
    read = load.load

    def cut(*arguments):
        cut_weights(source)
        return read(*arguments)

    monkeypatch.setattr(load, "load", cut)
    (tmp_path / "existing").mkdir()
    for output in ("converted", "existing"):
        status, message = convert(source, tmp_path / output, *MESH_FLAGS)
        assert (status, "model.safetensors: " in message) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["existing", "hf"]
    assert list((tmp_path / "existing").iterdir()) == []


def test_a_value_too_large_for_float16_is_refused_and_can_be_exported_as_bfloat16(
    pair_of, save, convert, tmp_path
):
    source = save(pair_of("bloom"))
    edit_weights(lambda tensors: tensors[NORM].fill_(70_000))(source)
    assert convert(source, tmp_path / "converted", *MESH_FLAGS)[0] == 0
    status, message = convert(
        tmp_path / "converted", tmp_path / "back", "--config.dtype=float16", *MESH_FLAGS
    )
    assert status == 2
    assert "which it cannot hold; choose bfloat16 or float32" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "hf"]
    status, _ = convert(
        tmp_path / "converted", tmp_path / "back", "--config.dtype=bfloat16", *MESH_FLAGS
    )
    assert status == 0


def test_an_untied_head_is_converted_after_the_suggested_change(pair_of, save, convert, tmp_path):
    source = save(pair_of("bloom with an untied head"))
    edit_config(tie_word_embeddings=True)(source)
    status, message = convert(source, tmp_path / "converted", *MESH_FLAGS)
    assert (status, 'set "tie_word_embeddings": false in config.json' in message) == (2, True)
    edit_config(tie_word_embeddings=False)(source)
    assert convert(source, tmp_path / "converted", *MESH_FLAGS) == (0, "")
