import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import lazy_tensor, safetensors, tensor_check, tensor_names
from teacherlm_jax.hf.lazy_tensor import StoredTensor

BLOOM = ModelConfig("bloom", 2, 8, 2, vocab_size=10)
OPT = ModelConfig("opt", 2, 8, 2, vocab_size=10, max_positions=6)
NORM = "h.1.input_layernorm.weight"


def headers(config, prefix=""):
    return {
        prefix + slot.name: StoredTensor(
            Path("w"), prefix + slot.name, slot.stored_shape, "float32", 0
        )
        for slot in tensor_names.slots(config)
    }


def refusal(config, tensors):
    with pytest.raises(UserError) as raised:
        tensor_check.matched(Path("hf"), config, tensors)
    return str(raised.value)


@pytest.mark.parametrize("config", [BLOOM, OPT], ids=lambda config: config.family)
@pytest.mark.parametrize("prefixed", [True, False])
def test_tensors_are_found_with_and_without_the_prefix(config, prefixed):
    tensors = headers(config, tensor_names.PREFIXES[config.family] if prefixed else "")
    pairs = tensor_check.matched(Path("hf"), config, tensors)
    assert [slot for slot, _ in pairs] == list(tensor_names.slots(config))
    assert [tensor for _, tensor in pairs] == list(tensors.values())


def test_a_missing_tensor_is_named_with_its_shape():
    tensors = headers(BLOOM)
    del tensors[NORM]
    assert f"hf: the tensors in w do not match config.json: {NORM} of shape [8] is missi" in (
        refusal(BLOOM, tensors)
    )


def test_an_unexpected_tensor_is_named_with_its_shape():
    tensors = headers(BLOOM, "transformer.")
    name = "transformer.h.2.input_layernorm.weight"
    tensors[name] = StoredTensor(Path("w"), name, (8,), "float32", 0)
    assert f"{name} of shape [8] has no place in the model" in refusal(BLOOM, tensors)


def test_a_tensor_of_another_shape_is_named_with_both_shapes():
    tensors = headers(BLOOM)
    tensors[NORM] = StoredTensor(Path("w"), NORM, (8, 1), "float32", 0)
    assert f"{NORM} has the shape [8, 1], but config.json implies [8]" in refusal(BLOOM, tensors)


def test_an_unsupported_dtype_is_named():
    tensors = headers(BLOOM)
    tensors[NORM] = StoredTensor(Path("w"), NORM, (8,), "I8", 0)
    assert f"{NORM} has the dtype I8; expected float32, float16, bfloat16" in refusal(
        BLOOM, tensors
    )


def test_a_tensor_under_both_names_is_refused():
    tensors = headers(BLOOM) | {f"transformer.{NORM}": headers(BLOOM)[NORM]}
    assert f"transformer.{NORM} and {NORM} are the same tensor" in refusal(BLOOM, tensors)


def test_only_the_first_problems_are_listed():
    message = refusal(BLOOM, {})
    assert message.count("is missing") == 5
    assert f"and {len(headers(BLOOM)) - 5} more" in message


def test_harmless_extra_tensors_of_old_files_are_ignored():
    tensors = headers(OPT, "model.")
    tensors["decoder.version"] = StoredTensor(Path("w"), "decoder.version", (1,), "float32", 0)
    assert len(tensor_check.matched(Path("hf"), OPT, tensors)) == len(tensors) - 1


def test_an_untied_head_is_required_if_config_json_says_so():
    untied = ModelConfig("bloom", 2, 8, 2, vocab_size=10, tied=False)
    assert "lm_head.weight of shape [10, 8] is missing" in refusal(untied, headers(BLOOM))


@pytest.mark.parametrize("block", [8, 1 << 20])
def test_a_stored_tied_head_must_equal_the_embedding(tmp_path, monkeypatch, block):
    monkeypatch.setattr(lazy_tensor, "BLOCK_BYTES", block)
    embedding = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    slots = {
        slot.name: np.zeros(slot.stored_shape, np.float32) for slot in tensor_names.slots(BLOOM)
    }
    slots["word_embeddings.weight"] = embedding
    save_file(slots | {tensor_names.HEAD: embedding}, tmp_path / "same.safetensors")
    tensors = safetensors.read_header(tmp_path / "same.safetensors")
    assert len(tensor_check.matched(tmp_path, BLOOM, tensors)) == len(slots)
    other = embedding.copy()
    other[9, 7] = np.nextafter(other[9, 7], np.float32(9))
    for head in (other, embedding[:9], embedding.astype(np.float16), embedding.reshape(-1)):
        save_file(slots | {tensor_names.HEAD: head}, tmp_path / "other.safetensors")
        tensors = safetensors.read_header(tmp_path / "other.safetensors")
        message = refusal(BLOOM, tensors)
        assert "lm_head.weight differs from word_embeddings.weight" in message
        assert 'set "tie_word_embeddings": false' in message


@pytest.mark.parametrize("config", [BLOOM, OPT], ids=lambda config: config.family)
@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("prefixed", [True, False])
def test_the_prefix_of_a_wrapper_is_dropped(config, wrapper, prefixed):
    family = tensor_names.PREFIXES[config.family] if prefixed else ""
    untied = dataclasses.replace(config, tied=False)
    tensors = headers(untied, wrapper + family)
    head = tensors.pop(f"{wrapper}{family}{tensor_names.HEAD}")
    tensors[wrapper + tensor_names.HEAD] = head
    pairs = tensor_check.matched(Path("hf"), untied, tensors)
    assert [slot for slot, _ in pairs] == list(tensor_names.slots(untied))
    assert len({tensor.name for _, tensor in pairs}) == len(tensors)


def test_a_tensor_without_the_prefix_of_all_others_is_named():
    tensors = headers(BLOOM, "module.")
    tensors["v_head.weight"] = StoredTensor(Path("w"), "v_head.weight", (1, 8), "float32", 0)
    message = refusal(BLOOM, tensors)
    assert "v_head.weight of shape [1, 8] has no place in the model" in message
    assert "is missing" not in message


def test_a_refusal_names_the_files_that_were_read():
    tensors = headers(BLOOM)
    del tensors[NORM]
    tensors |= {"x": StoredTensor(Path("f/other.bin"), "x", (1,), "float32", 0)}
    assert "the tensors in other.bin, w do not match config.json" in refusal(BLOOM, tensors)
