"""Tokenizer folders in the format of transformers: reading and writing them."""

import functools
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece


def copy_with(folder, to, **changes):
    """Copy a folder, with keys of tokenizer_config.json changed (None removes a key)."""
    shutil.copytree(folder, to)
    if changes:
        config = files.read_json(to / "tokenizer_config.json") | changes
        kept = {key: value for key, value in config.items() if value is not None}
        files.write_json(to / "tokenizer_config.json", kept)
    return to


def template(*tokens):
    """Return a post-processor that adds `<s>` or `</s>` around the text, which is written `$`."""
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    parts = [sequence if t == "$" else {"SpecialToken": {"id": t, "type_id": 0}} for t in tokens]
    ids = {"<s>": 1, "</s>": 2}
    return {
        "type": "TemplateProcessing",
        "single": parts,
        "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in ids.items()},
    }


@pytest.mark.parametrize("name", ["opt_folder", "bloom_folder"])
def test_transformers_reads_a_saved_tokenizer(request, name, real_texts, tmp_path):
    folder = request.getfixturevalue(name)
    vocabulary = open_vocabulary(folder)
    vocabulary.save_pretrained(tmp_path)
    shutil.copy(folder / "config.json", tmp_path)  # as in the folder of a model
    reference = AutoTokenizer.from_pretrained(tmp_path)
    encoded = reference(real_texts)
    assert set(encoded) == {"input_ids", "attention_mask"}
    for text, ids in zip(real_texts, encoded["input_ids"], strict=True):
        assert ids == [*vocabulary.begin, *vocabulary.encode(text)]
        assert reference.decode(ids, skip_special_tokens=True) == text
    assert (reference.eos_token_id, len(reference)) == (vocabulary.eos_id, vocabulary.size)
    assert reference.pad_token == "<pad>"
    assert (
        reference.padding_side == "left"
    )  # or generated text would follow padding, not the prompt


@pytest.fixture(scope="module")
def sentencepiece(real_texts, tmp_path_factory):
    """A trained vocabulary, and the folder in which it was saved for transformers."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    vocabulary = train_sentencepiece(real_texts, folder / "trained", 2000, seed=0)
    vocabulary.save_pretrained(folder / "saved")
    return vocabulary, folder / "saved"


def test_transformers_computes_the_ids_of_a_sentencepiece_vocabulary(sentencepiece, real_texts):
    vocabulary, folder = sentencepiece
    reference = AutoTokenizer.from_pretrained(folder)
    unseen = ["  two  spaces\n\tand a tab ", "漢字 😀 é <0x41>", "aaaa", "", "=" * 9]
    for text in (*real_texts, *unseen):
        ids = reference(text)["input_ids"]
        assert ids == vocabulary.encode(text)
        assert reference.decode(ids) == text
    assert (reference.eos_token_id, reference.pad_token_id, reference.unk_token_id) == (1, 0, 2)
    assert vocabulary.named_ids() == {"eos_token": 1, "pad_token": 0, "unk_token": 2}
    assert open_vocabulary(folder).digest == vocabulary.digest


@given(
    text=st.text("aaeest 0.=-\n")
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581<"))
)
def test_a_converted_sentencepiece_model_gives_the_same_ids_for_any_text(sentencepiece, text):
    vocabulary, folder = sentencepiece
    converted = _opened(folder / "tokenizer.json")
    assert converted.encode(text).ids == vocabulary.encode(text)


@functools.cache
def _opened(path):
    return Tokenizer.from_file(str(path))


@pytest.mark.parametrize("name", ["opt_folder", "bloom_folder"])
def test_the_digest_does_not_depend_on_how_a_vocabulary_was_saved(request, name, tmp_path):
    vocabulary = open_vocabulary(request.getfixturevalue(name))
    vocabulary.save(tmp_path / "saved")
    assert Vocabulary.load(tmp_path / "saved").digest == vocabulary.digest
    vocabulary.save_pretrained(tmp_path / "exported")
    assert open_vocabulary(tmp_path / "exported").digest == vocabulary.digest
    (tmp_path / "exported" / "vocabulary.json").unlink()
    assert open_vocabulary(tmp_path / "exported").digest == vocabulary.digest


@pytest.mark.parametrize("undeclared", [[], None])
def test_special_tokens_that_the_file_does_not_declare_are_declared(
    toy_folder, tmp_path, undeclared
):
    folder = copy_with(toy_folder, tmp_path / "toy")
    described = files.read_json(folder / "tokenizer.json")
    described["model"]["merges"] = [
        merge for merge in described["model"]["merges"] if "".join(merge) != "</s>"
    ]
    expected = described.pop("added_tokens")
    if undeclared is not None:
        described["added_tokens"] = undeclared
    files.write_json(folder / "tokenizer.json", described)
    vocabulary = open_vocabulary(folder)
    assert vocabulary.named_ids() == {
        "unk_token": 0, "bos_token": 1, "eos_token": 2, "pad_token": 3,
    }  # fmt: skip
    vocabulary.save_pretrained(tmp_path / "saved")
    assert files.read_json(tmp_path / "saved" / "tokenizer.json")["added_tokens"] == expected
    assert open_vocabulary(tmp_path / "saved").digest == vocabulary.digest


def test_the_file_of_bloom_is_saved_byte_for_byte(bloom_folder, tmp_path):
    open_vocabulary(bloom_folder).save_pretrained(tmp_path)
    saved = (tmp_path / "tokenizer.json").read_bytes()
    assert saved == (bloom_folder / "tokenizer.json").read_bytes()


def test_opt_without_a_tokenizer_config_is_recognized_by_its_model(opt_folder, tmp_path):
    folder = copy_with(opt_folder, tmp_path / "opt")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    (folder / "config.json").write_text('{"model_type": "opt"}')  # default ids are omitted
    vocabulary = open_vocabulary(folder)
    assert (vocabulary.eos_id, vocabulary.begin, vocabulary.unknown_id) == (2, (2,), None)
    assert vocabulary.digest == open_vocabulary(opt_folder).digest


@pytest.mark.parametrize(
    ("post_processor", "config", "begin"),
    [
        (None, {"add_bos_token": True}, (1,)),
        (None, {"add_bos_token": False}, ()),
        (template("<s>", "$"), {}, (1,)),
        (template("<s>", "$"), {"add_bos_token": True}, (1,)),
        (template("$", "</s>"), {}, ()),  # packing and prompts add eos_id themselves
        (template("<s>", "$", "</s>"), {}, (1,)),
    ],
)
def test_begin_is_the_ids_that_the_tokenizer_adds_before_a_text(
    toy_folder, tmp_path, post_processor, config, begin
):
    folder = copy_with(toy_folder, tmp_path / "toy", **config)
    described = files.read_json(folder / "tokenizer.json") | {"post_processor": post_processor}
    files.write_json(folder / "tokenizer.json", described)
    vocabulary = open_vocabulary(folder)
    assert vocabulary.begin == begin
    vocabulary.save_pretrained(tmp_path / "saved")
    ids = AutoTokenizer.from_pretrained(tmp_path / "saved")("a b")["input_ids"]
    assert ids == [*begin, *vocabulary.encode("a b")]


def test_the_special_ids_are_part_of_the_digest(toy_folder, tmp_path):
    plain = open_vocabulary(toy_folder)
    other = open_vocabulary(copy_with(toy_folder, tmp_path / "other", eos_token="<s>"))
    assert (plain.eos_id, other.eos_id) == (2, 1)
    assert plain.digest != other.digest


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"eos_token": "<end>"}, "eos_token '<end>' is not in the vocabulary"),
        ({"eos_token": "a"}, "texts can contain the id .*, which begins or ends a text; name"),
        (
            {"add_bos_token": True, "bos_token": "a"},
            "texts can contain the id .*, which begins or ends a text; name",
        ),
        ({"add_prefix_space": True}, "tokenizer_config.json: add_prefix_space is true"),
    ],
)
def test_invalid_special_tokens_are_refused(toy_folder, tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        open_vocabulary(copy_with(toy_folder, tmp_path / "toy", **config))


def test_a_folder_without_an_eos_token_is_refused(toy_folder, tmp_path):
    shutil.copy(toy_folder / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match="no file defines an eos_token; add a tokenizer_config"):
        open_vocabulary(tmp_path)


def test_a_vocabulary_whose_id_0_is_text_is_refused_with_advice(toy_folder, tmp_path):
    folder = copy_with(toy_folder, tmp_path / "gpt2")
    described = files.read_json(folder / "tokenizer.json")
    described["added_tokens"] = described["added_tokens"][1:]
    vocab = described["model"]["vocab"]
    vocab["!"], vocab["<unk>"] = vocab["<unk>"], vocab["!"]
    files.write_json(folder / "tokenizer.json", described)
    with pytest.raises(UserError, match=r"texts can contain the id 0, .*config.vocabulary.size"):
        open_vocabulary(folder)


def small_opt(folder, vocab=None, merges="#version: 0.2\n", **others):
    """Write vocab.json, merges.txt and other JSON files to a folder, and return it."""
    files.write_json(folder / "vocab.json", {"</s>": 0} if vocab is None else vocab)
    (folder / "merges.txt").write_text(merges)
    for name, value in {"tokenizer_config": {"eos_token": "</s>"}, **others}.items():
        files.write_json(folder / f"{name}.json", value)
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"vocab": ["a"]}, "vocab.json: expected a JSON object with a different id for each"),
        ({"vocab": {"a": 0, "b": 0}}, "vocab.json: expected a JSON object"),
        ({"vocab": {"a": "0"}}, "vocab.json: expected a JSON object"),
        ({"merges": "#version: 0.2\na b\nabc\n"}, "merges.txt:3: expected two tokens .* 'abc'"),
        ({"tokenizer_config": []}, "tokenizer_config.json: expected a JSON object, got list"),
        ({"added_tokens": {"<new>": 9}}, "added token '<new>' is not in vocab.json; save"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"9": {"content": "<new>"}}}},
            "added token '<new>' is not in vocab.json",
        ),
        ({}, "vocab.json: not byte-level, 256 of the 256 bytes"),
    ],
)
def test_malformed_files_are_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        open_vocabulary(small_opt(tmp_path, **content))


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["README.md", "gpt2-merges.txt", "gpt2-vocab.json"], "gpt2-merges.txt, gpt2-vocab.json"),
        (["README.md"], "README.md"),
        (list("abcde"), "a, b, c, d"),
        ([], "nothing"),
        (None, "no such folder"),
    ],
)
def test_files_of_a_folder_without_a_vocabulary_are_listed(tmp_path, names, listed):
    for name in names or ():
        (tmp_path / name).write_text("{}")
    folder = tmp_path if names is not None else tmp_path / "none"
    with pytest.raises(UserError) as raised:
        open_vocabulary(folder)
    assert str(raised.value).startswith(f"{folder}: no vocabulary in this folder; expected ")
    assert str(raised.value).endswith(f"merges.txt, found {listed}")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no vocabulary in this folder; expected vocabulary.json"):
        open_vocabulary(tmp_path)
    small_opt(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(UserError, match="merges.txt: no such file; copy it to the folder of vocab"):
        open_vocabulary(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({})[:1])
    with pytest.raises(UserError, match=r"vocab.json:1: not JSON"):
        open_vocabulary(tmp_path)
