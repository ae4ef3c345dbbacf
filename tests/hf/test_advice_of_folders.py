"""Advice in messages about Hugging Face folders, followed up to the opened folder."""

import json
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, model_folder, model_path, safetensors
from teacherlm_jax.storage import files
from tests.hf.blank_folder import WEIGHTS, write_blank

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path, write_tokenizer):
    """A folder of a small model with zeros as weights."""
    return write_blank(tmp_path / "model", write_tokenizer)


def edit_config(**changes):
    def edit(folder):
        path = folder / "config.json"
        files.write_json(path, files.read_json(path) | changes)

    return edit


def remove_keys(*names):
    def edit(folder):
        values = files.read_json(folder / "config.json")
        kept = {name: value for name, value in values.items() if name not in names}
        files.write_json(folder / "config.json", kept)

    return edit


def remove(name):
    return lambda folder: (folder / name).unlink()


def cut(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def pointer(folder):
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")


def corrupt(folder):
    (folder / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]")


def edit_tensors(change):
    def edit(folder):
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


def shard(folder, *, index):
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    parts = dict(zip(SHARDS, (names[:5], names[5:]), strict=True))
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / file)
    (folder / WEIGHTS).unlink()
    if index:
        placed = {name: file for file, own in parts.items() for name in own}
        (folder / INDEX).write_text(json.dumps({"weight_map": placed}))


def sharded(damage, *, index=True):
    def edit(folder):
        shard(folder, index=index)
        damage(folder)

    return edit


def misplaced(folder):
    placed = files.read_json(folder / INDEX)["weight_map"]
    placed[min(placed)] = SHARDS[1]
    files.write_json(folder / INDEX, {"weight_map": placed})


def other_set(folder):
    save_file({"x": np.zeros(1, np.float32)}, folder / "model-00001-of-00003.safetensors")


def twice(folder):
    shutil.copy(folder / SHARDS[0], folder / SHARDS[1])


def adapter(folder):
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")


def adapter_alone(folder):
    """Leave what peft saves: no config of a whole model."""
    adapter(folder)
    (folder / "config.json").unlink()


def instead(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


# What is wrong with the folder, and the words of the message that say to copy files of the whole
# folder again, from the one that they were copied from.
COPIED = {
    "config without a key": (remove_keys("n_layer"), "has no n_layer or .*; copy the whole file"),
    "more ids than rows": (edit_config(vocab_size=9), "copy both from one checkpoint"),
    "another eos": (edit_config(eos_token_id=9), "; copy both from one checkpoint, or correct"),
    "truncated": (cut, "is truncated: .*; copy it again"),
    "no header": (corrupt, "is damaged or not a safetensors file: .*; copy it again"),
    "pointer": (pointer, r"fetch the file with `git lfs pull` in that folder"),
    "a tensor too few": (
        edit_tensors(lambda tensors: tensors.pop("ln_f.weight")),
        "copy config.json and weights again, from one checkpoint",
    ),
    "no weights": (remove(WEIGHTS), "holds no weights; expected model.safetensors, "),
    "an adapter": (
        adapter,
        "merge an adapter into its base model .merge_and_unload in peft., save",
    ),
    "an adapter alone": (adapter_alone, "merge an adapter into its base model"),
    "a folder": (instead, "is a folder; expected a file of weights"),
    "missing shard": (sharded(remove(SHARDS[1])), "but .*index.json lists it; copy it there"),
    "missing number": (sharded(remove(SHARDS[1]), index=False), "2 of 2 are missing .*; copy them"),
    "two sets": (sharded(other_set, index=False), "keep the shards of one checkpoint only"),
    "tensor twice": (sharded(twice, index=False), "is also in .*; keep the shards of one"),
    "no map": (
        sharded(lambda folder: (folder / INDEX).write_text("{}")),
        "has no weight_map .*; copy the file again",
    ),
    "misplaced": (sharded(misplaced), "copy the index and its shards again, from one checkpoint"),
    "no object": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "expected a JSON object, got list",
    ),
}


def refusal(folder):
    with pytest.raises(UserError) as raised:
        model_folder.open_model(folder)
    return str(raised.value)


@pytest.mark.parametrize("fault", COPIED)
def test_a_folder_is_opened_after_copying_what_its_message_names(folder, tmp_path, fault):
    damage, words = COPIED[fault]
    origin = shutil.copytree(folder, tmp_path / "origin")
    digest = model_folder.open_model(folder).digest
    damage(folder)
    message = refusal(folder)
    assert str(folder) in message and re.search(words, message), message
    shutil.rmtree(folder)
    shutil.copytree(origin, folder)
    assert model_folder.open_model(folder).digest == digest


# The fault, the words of the message, and a smaller change that they allow.
MENDED = {
    "type": (edit_config(n_layer="2"), "n_layer is '2', expected int", edit_config(n_layer=2)),
    "family": (
        edit_config(model_type="gpt2"),
        "expected 'bloom' or 'opt'",
        edit_config(model_type="bloom"),
    ),
    "eos": (
        edit_config(eos_token_id=9),
        r"eos_token of the tokenizer has the id 2; .* or correct the wrong one",
        edit_config(eos_token_id=2),
    ),
    "shape": (
        edit_config(n_head=3),
        "describes an invalid model: .*32 is not divisible by heads=3",
        edit_config(n_head=4),
    ),
    "set": (
        sharded(other_set, index=False),
        "keep the shards of one checkpoint only",
        remove("model-00001-of-00003.safetensors"),
    ),
}


@pytest.mark.parametrize("fault", MENDED)
def test_a_folder_is_opened_after_the_change_that_its_message_names(folder, fault):
    damage, words, mend = MENDED[fault]
    damage(folder)
    message = refusal(folder)
    assert re.search(words, message), message
    mend(folder)
    assert model_folder.open_model(folder).config.layers == 2


def test_weights_truncated_while_they_are_read_are_copied_again(folder):
    content = (folder / WEIGHTS).read_bytes()
    tensor = max(safetensors.read_header(folder / WEIGHTS).values(), key=lambda t: t.offset)
    (folder / WEIGHTS).write_bytes(content[:-1])
    with pytest.raises(UserError, match="was truncated meanwhile; copy it again$"):
        tensor.read()
    (folder / WEIGHTS).write_bytes(content)
    assert tensor.read().shape == tensor.shape


@pytest.mark.parametrize("path", ["nowhere", "model/nothing"])
def test_each_kind_of_path_that_a_message_lists_names_a_model(folder, tmp_path, path):
    (folder / "nothing").mkdir()
    with pytest.raises(
        UserError, match="expected a run folder with checkpoints/, one ch"
    ) as raised:
        any_model.describe(tmp_path / path)
    assert "a Hugging Face folder with config.json and weights" in str(raised.value)
    assert any_model.describe(folder).config.layers == 2
    assert all(model_path.resolve(f"RUN/checkpoints/{step}")[1] for step in ("100", "best"))
