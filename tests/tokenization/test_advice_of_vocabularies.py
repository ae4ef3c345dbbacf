"""Advice in error messages about vocabularies, which works when it is followed."""

import re
import shutil

import pytest
from transformers import AutoTokenizer

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece

from .test_hf_folder import copy_with
from .test_vocabulary import texts

TEXT = "Is red a color?"


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def assert_usable(vocabulary):
    assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_sentencepiece([TEXT] * 9, tmp_path_factory.mktemp("trained"), 500, seed=0)


def change(name, **values):
    return lambda folder: files.write_json(folder / name, files.read_json(folder / name) | values)


def write(name, content):
    return lambda folder: (folder / name).write_text(content)


def remove(name):
    return lambda folder: (folder / name).unlink()


# A fault of a saved vocabulary, and the advice of its message.
SAVED = {
    "type": (change("vocabulary.json", type="x"), "copy the vocabulary again"),
    "no model": (remove("sentencepiece.model"), "copy the whole folder of the vocabulary again"),
    "model": (write("sentencepiece.model", "x"), "copy the file again"),
    "digest": (change("vocabulary.json", digest="x"), "copy or train the vocabulary again"),
    "size": (change("vocabulary.json", size=9), "copy or train the vocabulary again"),
    "no json": (write("vocabulary.json", "{"), "correct it or copy it again"),
    "not UTF-8": (
        lambda folder: (folder / "vocabulary.json").write_bytes(b"\xff"),
        "copy it here again",
    ),
    "nothing": (remove("vocabulary.json"), "copy the whole run folder of the model, including its"),
}


@pytest.mark.parametrize("fault", SAVED)
def test_a_saved_vocabulary_can_be_opened_after_it_is_copied_again(trained, tmp_path, fault):
    damage, advice = SAVED[fault]
    trained.save(tmp_path / "backup")
    folder = shutil.copytree(tmp_path / "backup", tmp_path / "vocabulary")
    damage(folder)
    assert advice in refusal(Vocabulary.load, folder)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    assert_usable(Vocabulary.load(folder))


def test_a_vocabulary_can_be_opened_after_it_is_trained_again(trained, tmp_path):
    trained.save(tmp_path)
    change("vocabulary.json", digest="x")(tmp_path)
    assert refusal(Vocabulary.load, tmp_path).endswith("; copy or train the vocabulary again")
    train_sentencepiece([TEXT] * 9, tmp_path, 500, seed=0)
    assert_usable(Vocabulary.load(tmp_path))


def without_vocab(folder):
    model = files.read_json(folder / "tokenizer.json")["model"]
    change("tokenizer.json", model=model | {"merges": [["no", "pair"]]})(folder)


def with_huge_id(folder):
    model = files.read_json(folder / "tokenizer.json")["model"]
    vocab = model["vocab"] | {"zz": 4 * 10**9}
    change("tokenizer.json", model=model | {"vocab": vocab})(folder)


# A fault of a tokenizer's folder, and the advice of its message.
FOLDERS = {
    "id": (change("vocabulary.json", eos_id=None), "copy the vocabulary again"),
    "json": (write("tokenizer.json", "{"), "copy the file again"),
    "merges": (without_vocab, "copy the file again"),
    "huge": (with_huge_id, "copy the file again"),
}


@pytest.mark.parametrize("fault", FOLDERS)
def test_a_tokenizer_can_be_opened_after_it_is_copied_again(toy_folder, tmp_path, fault):
    damage, advice = FOLDERS[fault]
    folder = tmp_path / "saved"
    open_vocabulary(toy_folder).save(folder)
    shutil.copytree(folder, tmp_path / "backup")
    damage(folder)
    assert refusal(open_vocabulary, folder).endswith(f"; {advice}")
    shutil.copytree(tmp_path / "backup", folder, dirs_exist_ok=True)
    assert_usable(open_vocabulary(folder))


@pytest.fixture(scope="module")
def in_parts(toy_folder, tmp_path_factory):
    """The toy tokenizer as `vocab.json` and `merges.txt`."""
    folder = tmp_path_factory.mktemp("parts")
    model = files.read_json(toy_folder / "tokenizer.json")["model"]
    files.write_json(folder / "vocab.json", model["vocab"])
    (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in model["merges"]))
    shutil.copy(toy_folder / "tokenizer_config.json", folder)
    return folder


PARTS = {
    "ids": (write("vocab.json", '{"a": 0, "b": 0}'), "copy it again"),
    "no merges": (remove("merges.txt"), "copy it to the folder of vocab.json"),
    "merges": (write("merges.txt", "abc\n"), "copy it again"),
    "not UTF-8": (lambda folder: (folder / "merges.txt").write_bytes(b"\xff"), "copy it again"),
}


@pytest.mark.parametrize("fault", PARTS)
def test_parts_of_a_tokenizer_can_be_opened_after_they_are_copied_again(in_parts, tmp_path, fault):
    damage, advice = PARTS[fault]
    folder = shutil.copytree(in_parts, tmp_path / "parts")
    damage(folder)
    assert refusal(open_vocabulary, folder).endswith(f"; {advice}")
    shutil.copytree(in_parts, folder, dirs_exist_ok=True)
    assert_usable(open_vocabulary(folder))


def test_a_tokenizer_with_added_tokens_is_opened_after_transformers_saved_it(in_parts, tmp_path):
    folder = shutil.copytree(in_parts, tmp_path / "parts")
    files.write_json(folder / "added_tokens.json", {"<new>": 300})
    change("tokenizer_config.json", tokenizer_class="GPT2Tokenizer", add_prefix_space=False)(folder)
    advice = "; save the tokenizer as tokenizer.json with transformers first"
    assert refusal(open_vocabulary, folder).endswith(advice)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert (folder / "tokenizer.json").exists()
    assert_usable(open_vocabulary(folder))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_a_tokenizer_is_opened_after_a_file_that_names_an_eos_token_is_added(
    toy_folder, tmp_path, name
):
    shutil.copy(toy_folder / "tokenizer.json", tmp_path)
    advice = "; add a tokenizer_config.json that names it, or the model's config.json"
    assert refusal(open_vocabulary, tmp_path).endswith(advice)
    shutil.copy(toy_folder / name, tmp_path)
    assert open_vocabulary(tmp_path).eos_id == 2


# A wrong config of a tokenizer, the advice of its message, and a config that follows it.
CONFIGS = {
    "unknown": ({"eos_token": "<end>"}, "name a token of the vocabulary", {"eos_token": "</s>"}),
    "text": (
        {"eos_token": "a"},
        "name a special token as bos_token and eos_token",
        {"eos_token": "</s>"},
    ),
    "begin": (
        {"add_bos_token": True, "bos_token": "a"},
        "name a special token as bos_token and eos_token",
        {"bos_token": "<s>"},
    ),
    "space": ({"add_prefix_space": True}, "expected false", {"add_prefix_space": False}),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_tokenizer_is_opened_with_the_config_that_a_message_suggests(toy_folder, tmp_path, fault):
    wrong, advice, right = CONFIGS[fault]
    folder = copy_with(toy_folder, tmp_path / "toy", **wrong)
    assert f"; {advice}" in refusal(open_vocabulary, folder)
    change("tokenizer_config.json", **right)(folder)
    assert_usable(open_vocabulary(folder))


# Wrong parts of tokenizer.json, the advice of the message, and parts that follow it.
TOKENIZERS = {
    "normalizer": (
        {"normalizer": {"type": "NFC"}},
        "expected a byte-level BPE without it",
        {"normalizer": None},
    ),
    "space": (
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}},
        "expected a tokenizer that adds no space before a text",
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}},
    ),
}


@pytest.mark.parametrize("fault", TOKENIZERS)
def test_a_tokenizer_is_opened_with_the_parts_that_a_message_expects(toy_folder, tmp_path, fault):
    wrong, advice, right = TOKENIZERS[fault]
    folder = copy_with(toy_folder, tmp_path / "toy")
    change("tokenizer.json", **wrong)(folder)
    assert f"; {advice}" in refusal(open_vocabulary, folder)
    change("tokenizer.json", **right)(folder)
    assert_usable(open_vocabulary(folder))


@pytest.mark.parametrize("way", ["special token at id 0", "train a vocabulary"])
def test_a_vocabulary_whose_id_0_is_padding_is_opened(toy_folder, tmp_path, way):
    folder = copy_with(toy_folder, tmp_path / "toy")
    described = files.read_json(folder / "tokenizer.json")
    kept = described["added_tokens"]
    change("tokenizer.json", added_tokens=kept[1:])(folder)
    vocab = dict(described["model"]["vocab"])
    vocab["!"], vocab["<unk>"] = vocab["<unk>"], vocab["!"]
    change("tokenizer.json", model=described["model"] | {"vocab": vocab})(folder)
    assert way in refusal(open_vocabulary, folder)
    if way == "train a vocabulary":
        assert_usable(train_sentencepiece([TEXT] * 9, tmp_path / "trained", 500, seed=0))
    else:
        change("tokenizer.json", model=described["model"], added_tokens=kept)(folder)
        assert_usable(open_vocabulary(folder))


@pytest.mark.parametrize("kind", ["saved", "tokenizer", "parts"])
def test_a_folder_is_opened_once_it_has_the_files_that_a_message_names(
    trained, toy_folder, in_parts, tmp_path, kind
):
    message = refusal(open_vocabulary, tmp_path)
    assert "vocabulary.json, tokenizer.json, or vocab.json and merges.txt" in message
    if kind == "saved":
        trained.save(tmp_path)
    else:
        shutil.copytree(
            toy_folder if kind == "tokenizer" else in_parts, tmp_path, dirs_exist_ok=True
        )
    assert_usable(open_vocabulary(tmp_path))


def test_a_vocabulary_of_a_size_above_the_named_one_is_trained(tmp_path):
    message = refusal(train_sentencepiece, texts(), tmp_path, 300, 0)
    least = int(re.search(r"need (\d+) pieces, so choose a larger size$", message)[1])
    assert_usable(train_sentencepiece(texts(), tmp_path, least + 1, seed=0))
    assert_usable(train_sentencepiece(texts(), tmp_path, least, seed=0))


def test_a_vocabulary_is_trained_on_sources_that_contain_text(tmp_path):
    message = refusal(train_sentencepiece, [""], tmp_path, 500, 0)
    assert message.endswith("; name sources that contain text")
    assert_usable(train_sentencepiece(["", TEXT], tmp_path, 500, seed=0))


# Models that are no byte-level BPE, and what their messages expect.
OTHER_MODELS = {
    "kind": ({"type": "Unigram", "vocab": [], "merges": None}, ", expected a byte-level BPE"),
    "bytes": (
        {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        "; expected a byte-level BPE such as BLOOM's or OPT's",
    ),
}


@pytest.mark.parametrize("fault", OTHER_MODELS)
def test_a_byte_level_bpe_is_opened_in_place_of_another_model(toy_folder, tmp_path, fault):
    model, expected = OTHER_MODELS[fault]
    folder = copy_with(toy_folder, tmp_path / "toy")
    change("tokenizer.json", model=model, added_tokens=[])(folder)
    assert refusal(open_vocabulary, folder).endswith(expected)
    shutil.copy(toy_folder / "tokenizer.json", folder)  # one of BLOOM's kind
    assert_usable(open_vocabulary(folder))
