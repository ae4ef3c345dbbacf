"""Prepared folders: one call validates and opens the rows, manifest and vocabulary."""

import functools
import shutil

import pytest

from teacherlm_jax.data import prepared
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

LENGTH = 8


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return train_sentencepiece(["a b c d"], tmp_path_factory.mktemp("vocabulary"), 400, seed=0)


@pytest.fixture
def folder(write_prepared, vocabulary, tmp_path):
    texts = [Encoded([number + 3] * 6, [True] * 6) for number in range(10)]
    return write_prepared(tmp_path / "mix", texts, vocabulary, LENGTH)


def refusal(folder):
    with pytest.raises(UserError) as error:
        prepared.open(folder)
    return str(error.value)


def test_one_call_gives_rows_lengths_vocabulary_and_digest(folder, vocabulary):
    data = prepared.open(folder)
    assert (data.mixture, data.rows, data.length, data.max_tokens) == ("mix", 10, LENGTH, LENGTH)
    assert data.vocabulary.digest == vocabulary.digest
    assert data.digest == files.file_digest(folder / "manifest.json")
    assert data.reader().rows == 10


@pytest.mark.parametrize(
    ("batch_size", "epochs", "steps"), [(10, 1, 1), (4, 1, 3), (4, 2, 5), (20, 1, 1), (1, 3, 30)]
)
def test_the_number_of_steps_covers_all_epochs(folder, batch_size, epochs, steps):
    assert prepared.open(folder).steps(batch_size, epochs) == steps


def test_another_vocabulary_beside_the_rows_is_refused(folder, vocabulary, tmp_path):
    other = train_sentencepiece(["x y z"], tmp_path / "other", 400, seed=0)
    other.save(folder / "vocabulary")
    reason = f"has the digest {other.digest}, but the rows were tokenized with {vocabulary.digest}"
    assert f"{folder}/vocabulary: {reason}" in refusal(folder)


def test_the_digest_is_read_without_the_vocabulary(folder):
    expected = prepared.open(folder).digest
    shutil.rmtree(folder / "vocabulary")
    assert prepared.digest(folder) == prepared.digest(folder / "manifest.json") == expected


def test_a_folder_is_prepared_only_with_a_manifest(folder):
    assert prepared.is_prepared(folder)
    assert not prepared.is_prepared(folder.parent)


def test_a_folder_without_a_manifest_is_refused(folder):
    (folder / "manifest.json").unlink()
    assert "has no manifest.json" in refusal(folder)
    assert "no such folder" in refusal(folder / "nowhere")


def test_a_manifest_with_a_missing_key_is_refused(folder):
    files.write_json(folder / "manifest.json", {"rows": 3, "mixture": "a"})
    assert "manifest.json: the key length is missing; remove this folder" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("length", "8", "a positive integer"),
        ("length", 0, "a positive integer"),
        ("rows", 0, "a positive integer"),
        ("rows", 10.0, "a positive integer"),
        ("tasks", [], "an object"),
        ("inputs.max_tokens", "8", "a positive integer"),
        ("inputs.mixture.author", 1, "text"),
        ("shards", [], "a list of objects with name, digest and bytes"),
        ("shards", [1], "a list of objects with name, digest and bytes"),
        (
            "shards",
            [{"name": "rows-00000-of-00003.array_record"}],
            "a list of objects with name, digest and bytes",
        ),
    ],
)
def test_a_manifest_with_an_invalid_value_is_refused(folder, key, value, expected):
    manifest = files.read_json(folder / "manifest.json")
    *parents, last = key.split(".")
    functools.reduce(dict.__getitem__, parents, manifest)[last] = value
    files.write_json(folder / "manifest.json", manifest)
    message = f"manifest.json: {key} is {value!r}, expected {expected}; remove this folder"
    assert message in refusal(folder)
