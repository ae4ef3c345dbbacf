"""Byte-level BPE: the same ids as transformers, lossless, and no special id in a text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast

from teacherlm_jax.errors import UserError
from teacherlm_jax.tokenization.byte_level import ByteLevel
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

PREFIX_SPACE = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
AWKWARD = st.lists(st.sampled_from(["</s>", " <s>", "<pad>", "<unk>", "\u2581"]) | st.text())


@pytest.fixture(scope="module")
def opt(opt_folder):
    return open_vocabulary(opt_folder)


@pytest.fixture(scope="module")
def bloom(bloom_folder):
    return open_vocabulary(bloom_folder)


@pytest.fixture(scope="module")
def toy(toy_folder):
    return open_vocabulary(toy_folder)


def test_the_special_ids_of_opt_can_be_spelled_out(opt):
    ids = [*opt.begin, *opt.encode("An é </s>"), opt.eos_id, 0]
    assert opt.spelled(ids) == "</s>An é </s></s><s>"


def test_the_ids_of_opt_equal_those_of_transformers(opt, opt_folder, real_texts):
    reference = GPT2TokenizerFast.from_pretrained(opt_folder)
    for text, ids in zip(real_texts, reference(real_texts)["input_ids"], strict=True):
        assert [*opt.begin, *opt.encode(text)] == ids
        assert opt.decode(ids) == text


def test_the_ids_of_bloom_equal_those_of_transformers(bloom, bloom_folder, real_texts):
    reference = PreTrainedTokenizerFast.from_pretrained(bloom_folder)
    assert bloom.begin == ()
    for text, ids in zip(real_texts, reference(real_texts)["input_ids"], strict=True):
        assert bloom.encode(text) == ids
        assert bloom.decode(ids) == text


def test_opt_has_its_special_ids(opt):
    assert (opt.kind, opt.size, opt.pad_id) == ("byte_level_bpe", 50265, 0)
    assert (opt.eos_id, opt.begin, opt.unknown_id) == (2, (2,), None)
    # <s> <pad> </s> <unk>, <|endoftext|>, three unused rows, <mask>
    assert sorted(opt.special_ids) == [0, 1, 2, 3, *range(50260, 50265)]
    assert {0, 1, 3}.isdisjoint(opt.drawable()) and {2, 4}.issubset(opt.drawable())


def test_bloom_has_its_special_ids(bloom):
    assert (bloom.size, bloom.pad_id, bloom.eos_id, bloom.unknown_id) == (2000, 0, 2, 0)
    assert bloom.special_ids == {0, 1, 2, 3}
    assert bloom.drawable() == [2, *range(4, 2000)]


@given(parts=AWKWARD)
@pytest.mark.parametrize("name", ["bloom", "toy"])
def test_any_text_is_encoded_without_loss_and_without_special_ids(request, name, parts):
    vocabulary, text = request.getfixturevalue(name), "".join(parts)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.special_ids.isdisjoint(ids)


@given(parts=AWKWARD)
def test_opt_encodes_any_text_without_loss(opt, parts):
    ids = opt.encode("".join(parts))
    assert opt.decode([*opt.begin, *ids, opt.eos_id]) == "".join(parts)
    assert opt.special_ids.isdisjoint(ids)


def test_a_special_token_that_merges_produce_is_encoded_as_bytes(toy, toy_folder):
    merges = json.loads((toy_folder / "tokenizer.json").read_text())["model"]["merges"]
    assert "</s>" in {"".join(merge) for merge in merges}
    assert toy.decode(toy.encode("a </s></s> b")) == "a </s></s> b"
    assert 2 not in toy.encode("</s>")
    assert toy.encode_batch(["</s>", "a"]) == [toy.encode("</s>"), toy.encode("a")]


@pytest.fixture
def changed(toy_folder):
    """A function that returns the toy tokenizer's file with some parts changed."""

    def change(**parts):
        described = json.loads((toy_folder / "tokenizer.json").read_text())
        for part, value in parts.items():
            if isinstance(described[part], dict) and isinstance(value, dict):
                value = described[part] | value
            described[part] = value
        return json.dumps(described).encode()

    return change


def added(content, **flags):
    """An entry of `added_tokens` that is not special."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 400, "content": content} | plain | flags


def alphabet(**others):
    return {
        byte: id for id, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    } | others


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"normalizer": {"type": "NFC"}}, 'normalizer is {"type": "NFC"}, so encoding is not'),
        ({"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}, "normalizer"),
        ({"model": {"dropout": 0.5}}, "model.dropout is 0.5, so encoding is not lossless; "),
        ({"added_tokens": [added("<x>", lstrip=True)]}, "lstrip of the added token '<x>' is true"),
        ({"added_tokens": [added("<x>", rstrip=True)]}, "rstrip of the added token '<x>' is true"),
        ({"added_tokens": [added("x", single_word=True)]}, "single_word of the added token 'x' is"),
        ({"added_tokens": [added("n\u00e9")]}, "not lossless, 'an\u00e9b' is decoded as "),
        ({"model": {"vocab": alphabet(zz=4 * 10**9), "merges": []}}, "contains the id 4000000000"),
        ({"model": {"vocab": {}, "merges": []}, "added_tokens": []}, "of the 256 bytes have no"),
        ({"pre_tokenizer": PREFIX_SPACE}, "not lossless, .* is decoded as"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "of the 256 bytes have no"),
        ({"model": {"type": "BPE", "merges": [["no", "such"]]}}, "cannot be read: .*no.* out of v"),
        ({"model": {"type": "Unigram", "merges": None}}, "model type is 'Unigram', expected a by"),
        ({"model": None}, "model type is None, expected a byte-level BPE"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(changed, parts, message):
    with pytest.raises(UserError, match=rf"^T/tokenizer.json: .*{message}"):
        ByteLevel(changed(**parts), "T/tokenizer.json")


@pytest.mark.parametrize("end", [0, 1, 1000, -1])
def test_a_truncated_file_is_refused(toy_folder, end):
    content = (toy_folder / "tokenizer.json").read_bytes()
    with pytest.raises(UserError, match="T/tokenizer.json: not JSON: .*copy the file again"):
        ByteLevel(content.rstrip()[:end], "T/tokenizer.json")


def test_a_file_nested_too_deep_is_refused():
    with pytest.raises(UserError, match="T/tokenizer.json: not JSON"):
        ByteLevel(b'{"model":' + b"[" * 100_000, "T/tokenizer.json")


def test_an_added_token_that_is_not_special_is_text(changed, toy_folder):
    described = json.loads((toy_folder / "tokenizer.json").read_text())
    file = ByteLevel(changed(added_tokens=[*described["added_tokens"], added("<x y>")]), "T")
    assert file.encode("a<x y>b")[1:-1] == [file.vocabulary["<x y>"]]
    assert file.decode(file.encode("a <x y> b")) == "a <x y> b"


def test_truncation_and_padding_settings_of_the_file_are_ignored(changed):
    truncation = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    padding = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 3, "pad_type_id": 0, "pad_token": "<pad>"}
    file = ByteLevel(changed(truncation=truncation, padding=padding), "T")
    assert file.decode(file.encode("a b c d e f g")) == "a b c d e f g"
