import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.weights import holds_weights, open_weights

A, B = np.ones(2, np.float32), np.zeros(3, np.float32)


def indexed(folder, **placed):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    return index


def test_a_single_file_is_found_and_safetensors_is_preferred_to_bin(tmp_path, torch):
    assert not holds_weights(tmp_path)
    torch.save({"b": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert holds_weights(tmp_path)
    assert open_weights(tmp_path).keys() == {"b"}
    save_file({"a": A}, tmp_path / "model.safetensors")
    assert open_weights(tmp_path).keys() == {"a"}


def test_shards_are_found_with_and_without_an_index(tmp_path):
    save_file({"a": A}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": B}, tmp_path / "model-00002-of-00002.safetensors")
    actual = open_weights(tmp_path)
    assert {name: tensor.shape for name, tensor in actual.items()} == {"a": (2,), "b": (3,)}
    indexed(tmp_path, a="model-00001-of-00002.safetensors", b="model-00002-of-00002.safetensors")
    assert open_weights(tmp_path) == actual


def test_bin_shards_are_found_by_their_index(tmp_path, torch):
    for name in "ab":
        torch.save({name: torch.ones(2)}, tmp_path / f"pytorch_model-{name}.bin")
    placed = {name: f"pytorch_model-{name}.bin" for name in "ab"}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    assert open_weights(tmp_path).keys() == {"a", "b"}


def test_a_missing_shard_is_named(tmp_path):
    save_file({"a": A}, tmp_path / "one.safetensors")
    indexed(tmp_path, a="one.safetensors", b="two.safetensors")
    with pytest.raises(UserError, match=r"two.safetensors: no such file, but model.safetensors"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        ({"a": "one.safetensors"}, "says that b is in no file, but it is in one.safetensors"),
        (
            {"a": "one.safetensors", "b": "one.safetensors", "c": "one.safetensors"},
            "says that c is in one.safetensors, but it is in no file",
        ),
        ({"a": "../one.safetensors"}, "has no weight_map that gives each tensor a file beside it"),
        ({"a": 1}, "has no weight_map"),
        ({"a": ".."}, r"\.\.: no such file, but model.safetensors.index.json lists it"),
    ],
)
def test_an_index_that_contradicts_its_shards_is_refused(tmp_path, placed, message):
    save_file({"a": A, "b": B}, tmp_path / "one.safetensors")
    indexed(tmp_path, **placed)
    with pytest.raises(UserError, match=message):
        open_weights(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    for name in ("one", "two"):
        save_file({"a": A}, tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="two.safetensors: a is also in one.safetensors"):
        open_weights(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_a_folder_instead_of_a_weight_file_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name}: is a folder; expected a file of weights"):
        open_weights(tmp_path)


def test_a_folder_without_weights_is_refused_with_the_expected_files(tmp_path):
    with pytest.raises(UserError, match="holds no weights; expected model.safetensors"):
        open_weights(tmp_path)


@pytest.mark.parametrize("stray", ["adapter_model", "value_head", "model_of_mine"])
@pytest.mark.parametrize("whole", ["single", "indexed", "numbered"])
def test_other_weight_files_are_not_used_as_the_model(tmp_path, stray, whole, torch):
    save_file({"stray": A}, tmp_path / f"{stray}.safetensors")
    shards = {
        "single": "pytorch_model.bin",
        "indexed": "shard.bin",
        "numbered": "pytorch_model-00001-of-00001.bin",
    }
    torch.save({"b": torch.ones(2)}, tmp_path / shards[whole])
    if whole == "indexed":
        index = {"weight_map": {"b": "shard.bin"}}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    actual = open_weights(tmp_path)
    assert {name: tensor.file.name for name, tensor in actual.items()} == {"b": shards[whole]}


def test_a_single_file_is_preferred_to_an_index_as_in_transformers(tmp_path):
    save_file({"a": A}, tmp_path / "model.safetensors")
    save_file({"b": B}, tmp_path / "model-00001-of-00001.safetensors")
    indexed(tmp_path, b="model-00001-of-00001.safetensors")
    assert open_weights(tmp_path).keys() == {"a"}


@pytest.mark.parametrize("names", [["adapter_model"], ["adapter_model", "value_head"]])
def test_a_folder_with_only_parts_of_a_model_is_refused_with_a_remedy(tmp_path, names):
    for name in names:
        save_file({"a": A}, tmp_path / f"{name}.safetensors")
    named = ", ".join(f"{name}.safetensors" for name in names)
    with pytest.raises(UserError, match=f"holds no weights of a whole model, only {named}; merge"):
        open_weights(tmp_path)


def test_numbered_shards_must_be_complete_and_of_one_set(tmp_path):
    for number in (1, 3):
        save_file({f"t{number}": A}, tmp_path / f"model-{number:05}-of-00004.safetensors")
    with pytest.raises(UserError, match="shards 2, 4 of 4 are missing beside model-00001-of-00004"):
        open_weights(tmp_path)
    save_file({"x": A}, tmp_path / "model_00001-of-00001.safetensors")
    with pytest.raises(UserError, match="shards of sets of 1 and 4 without an index; keep"):
        open_weights(tmp_path)
