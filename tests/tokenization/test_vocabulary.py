"""The vocabulary: lossless, reproducible, with one piece for each frequent word."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece

SIZE = 4000


def texts():
    for sample in synthetic.generate(400, seed=0):
        for kind in sample.explanations:
            for piece in prompts.explanation_pieces(sample, kind):
                yield piece.text
            yield f" {sample.explanation(kind, 'program')}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vocabulary")


@pytest.fixture(scope="module")
def vocabulary(folder):
    return train_sentencepiece(texts(), folder, SIZE, seed=0)


@given(text=st.text())
def test_any_text_is_encoded_without_loss(vocabulary, text):
    assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize(
    "text", ["a\u2581b \u2581", "\u2581", "a\n\n b  c  ", "\t\0\r\n", "</s><pad>", "漢字 😀"]
)
def test_unusual_texts_are_encoded_without_loss(vocabulary, text):
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(many=st.lists(st.text(alphabet="ab \u2581é") | st.text()))
def test_texts_have_the_same_ids_in_a_batch_as_alone(vocabulary, many):
    assert vocabulary.encode_batch(many) == [vocabulary.encode(text) for text in many]


def test_no_text_contains_a_special_id(vocabulary):
    ids = vocabulary.encode("<pad></s><unk> \u2581 é \0")
    assert not {vocabulary.pad_id, vocabulary.eos_id, 2} & set(ids)


def test_decoding_skips_special_ids(vocabulary):
    ids = vocabulary.encode(" sky")
    assert vocabulary.decode([1, 0, *ids, 2, 1, 0, *ids]) == " sky sky"


def test_special_ids_can_be_spelled_out(vocabulary):
    ids = vocabulary.encode(" sky </s>")
    assert vocabulary.spelled([1, 0, *ids, 2, *ids]) == "</s><pad> sky </s><unk> sky </s>"


def test_option_letters_are_one_token(vocabulary):
    assert all(len(vocabulary.encode(letter)) == 1 for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_most_words_of_generated_texts_are_one_piece_with_the_space_before_them(vocabulary):
    words = [word for text in texts() for word in text.split(" ")[1:] if word.isalnum()]
    whole = sum(len(vocabulary.encode(f" {word}")) == 1 for word in words)
    assert whole / len(words) > 0.99


def test_training_again_gives_the_same_bytes(vocabulary, folder, tmp_path):
    again = train_sentencepiece(texts(), tmp_path, SIZE, seed=0)
    for name in ("sentencepiece.model", "vocabulary.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert again.digest == vocabulary.digest


def test_a_saved_vocabulary_loads_unchanged(vocabulary, tmp_path):
    vocabulary.save(tmp_path / "copy")
    copy = Vocabulary.load(tmp_path / "copy")
    assert (copy.size, copy.digest, copy.pad_id, copy.eos_id) == (
        vocabulary.size,
        vocabulary.digest,
        0,
        1,
    )
    assert copy.encode(" sky 12") == vocabulary.encode(" sky 12")
    described = json.loads((tmp_path / "copy" / "vocabulary.json").read_text())
    assert described["size"] == vocabulary.size <= SIZE


def test_the_size_is_a_maximum(tmp_path):
    assert train_sentencepiece(["a b a b"], tmp_path, 5000, seed=0).size < 500


def test_the_error_for_a_size_that_is_too_small_names_the_minimum(tmp_path):
    with pytest.raises(UserError, match=r"config.vocabulary.size: 100 is too small.* need \d+"):
        train_sentencepiece(["some text"], tmp_path, 100, seed=0)


def test_training_without_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="no text to train"):
        train_sentencepiece([], tmp_path, 500, seed=0)


def test_a_damaged_or_missing_vocabulary_is_refused_by_name(vocabulary, tmp_path):
    with pytest.raises(
        UserError, match="nothing/vocabulary.json: no such file; .*prepare .* again"
    ):
        Vocabulary.load(tmp_path / "nothing")
    vocabulary.save(tmp_path)
    model = tmp_path / "sentencepiece.model"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"sentencepiece.model: digest is sha256:.* as in vocab"):
        Vocabulary.load(tmp_path)
    model.unlink()
    with pytest.raises(UserError, match=r"sentencepiece.model: no such file"):
        Vocabulary.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"type": "other"}')
    with pytest.raises(UserError, match="vocabulary type is 'other', expected 'sentencepiece' or"):
        Vocabulary.load(tmp_path)


def test_a_description_without_the_newer_keys_can_be_loaded(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    described = files.read_json(tmp_path / "vocabulary.json")
    older = {key: described[key] for key in ("type", "size", "digest", "pad_id", "eos_id")}
    files.write_json(tmp_path / "vocabulary.json", older)
    loaded = Vocabulary.load(tmp_path)
    assert loaded.digest == vocabulary.digest == files.file_digest(tmp_path / "sentencepiece.model")
    assert (loaded.begin, loaded.unknown_id, loaded.kind) == ((), 2, "sentencepiece")


@pytest.mark.parametrize(("key", "value"), [("size", 9), ("eos_id", 2), ("begin", [1])])
def test_a_description_that_contradicts_its_file_is_refused(vocabulary, tmp_path, key, value):
    vocabulary.save(tmp_path)
    described = files.read_json(tmp_path / "vocabulary.json") | {key: value}
    files.write_json(tmp_path / "vocabulary.json", described)
    with pytest.raises(UserError, match=f"vocabulary.json: {key} is .*sentencepiece.model"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eos_id": 1}, "tokenizer.json: digest is sha256:.*expected sha256:"),
        ({"begin": [1]}, "tokenizer.json: digest is sha256:"),
        ({"eos_id": None}, "vocabulary.json: eos_id is None, expected an id; copy"),
        ({"begin": "x"}, "vocabulary.json: begin is 'x', expected a list of ids; copy"),
        ({"special_tokens": {"eos_token": 3}}, "vocabulary.json: special_tokens is"),
        ({"size": 5}, "vocabulary.json: size is 5, expected 266 as in tokenizer.json"),
    ],
)
def test_a_changed_byte_level_description_is_refused(toy_folder, tmp_path, changes, message):
    open_vocabulary(toy_folder).save(tmp_path)
    described = files.read_json(tmp_path / "vocabulary.json") | changes
    files.write_json(tmp_path / "vocabulary.json", described)
    with pytest.raises(UserError, match=message):
        Vocabulary.load(tmp_path)


def test_an_error_in_reading_the_texts_is_raised_unchanged(tmp_path):
    def texts():
        yield "one two three"
        raise UserError("mine.jsonl.gz: cut short after line 1")

    with pytest.raises(UserError, match="^mine.jsonl.gz: cut short after line 1$"):
        train_sentencepiece(texts(), tmp_path / "vocabulary", size=400, seed=0)
    assert not (tmp_path / "vocabulary").exists()
