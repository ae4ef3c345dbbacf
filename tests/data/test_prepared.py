"""A prepared folder is validated once, and everything about it comes from one call."""

import functools

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
def test_steps_read_every_row_as_often_as_there_are_epochs(folder, batch_size, epochs, steps):
    assert prepared.open(folder).steps(batch_size, epochs) == steps


def test_another_vocabulary_beside_the_rows_is_refused(folder, vocabulary, tmp_path):
    other = train_sentencepiece(["x y z"], tmp_path / "other", 400, seed=0)
    other.save(folder / "vocabulary")
    wanted = f"has the digest {other.digest}, but the rows were made with {vocabulary.digest}"
    assert f"{folder}/vocabulary: {wanted}" in refusal(folder)


def test_only_a_finished_mixture_is_prepared(folder):
    assert prepared.is_prepared(folder)
    assert not prepared.is_prepared(folder.parent)


def test_a_folder_without_a_manifest_is_not_finished(folder):
    (folder / "manifest.json").unlink()
    assert "has no manifest.json" in refusal(folder)
    assert "no such folder" in refusal(folder / "nowhere")


def test_a_manifest_that_lacks_something_is_refused(folder):
    files.write_json(folder / "manifest.json", {"rows": 3, "mixture": "a"})
    assert "manifest.json: lacks length; remove the folder" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("length", "8"),
        ("length", 0),
        ("rows", 0),
        ("rows", 10.0),
        ("tasks", []),
        ("inputs.max_tokens", "8"),
        ("inputs.mixture.author", 1),
        ("shards", []),
        ("shards", [1]),
        ("shards", [{"name": "rows-00000-of-00003.array_record"}]),
    ],
)
def test_a_manifest_that_holds_something_else_is_refused(folder, key, value):
    manifest = files.read_json(folder / "manifest.json")
    *parents, last = key.split(".")
    functools.reduce(dict.__getitem__, parents, manifest)[last] = value
    files.write_json(folder / "manifest.json", manifest)
    assert f"manifest.json: {key} cannot be {value!r}; remove the folder" in refusal(folder)
