"""The vocabulary of `prepare`: trained or opened, saved with the rows, and compared later."""

import dataclasses
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.config import (
    MixtureConfig,
    PrepareConfig,
    SourceConfig,
    TrainConfig,
    VocabularyConfig,
)
from teacherlm_jax.data import prepared as data_folder
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import from_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.tasks import trained_vocabulary
from teacherlm_jax.tasks.prepare import prepare
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary
from teacherlm_jax.training import setup
from tests.make_run import make_run


def small(root, output, **settings):
    """Return a config with the small source only, in two forms."""
    values = {
        "output": str(output),
        "root": str(root),
        "sources": (SourceConfig("small", "small.jsonl"),),
        "mixtures": (MixtureConfig("mix", forms=("text", "CMF"), author="program"),),
        "vocabulary": VocabularyConfig(path=str(output / "vocabulary"), size=600),
        "length": 256,
        "rows_per_shard": 10,
    }
    return PrepareConfig(**values | settings)


def do(config):
    return prepare(config, make_run(config.output))


def rows_of(folder):
    reader = data_folder.open(folder).reader(verify=True)
    for step in range(reader.rows):
        yield {name: value[0] for name, value in reader.batch(step).items()}


def test_max_tokens_must_leave_room_after_the_begin_ids(root, opt_like, tmp_path):
    path = VocabularyConfig(path=str(opt_like))
    with pytest.raises(
        UserError, match="config.max_tokens=1: leaves no room for text, because every"
    ):
        do(small(root, tmp_path, vocabulary=path, max_tokens=1))


def test_a_missing_vocabulary_is_trained_only_if_a_size_is_set(root, tmp_path):
    config = small(root, tmp_path, vocabulary=VocabularyConfig(path=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"config.vocabulary.path: no vocabulary in .*none"):
        do(config)
    trained = dataclasses.replace(config.vocabulary, size=500)
    assert do(dataclasses.replace(config, vocabulary=trained))["vocabulary_size"] == 500
    assert Vocabulary.load(tmp_path / "none").size == 500
    assert do(config)["vocabulary_size"] == 500


def test_two_preparations_that_train_one_vocabulary_have_the_same(
    root, tmp_path, monkeypatch, caplog
):
    config = small(root, tmp_path / "first", vocabulary=VocabularyConfig(str(tmp_path / "v"), 500))
    smaller = dataclasses.replace(config.vocabulary, size=400)
    other = dataclasses.replace(config, output=str(tmp_path / "second"), vocabulary=smaller)
    trains, ends, train = (
        threading.Event(),
        threading.Event(),
        trained_vocabulary.train_sentencepiece,
    )

    def slowly(*arguments):
        trains.set()
        assert ends.wait(60)
        return train(*arguments)

    monkeypatch.setattr(trained_vocabulary, "train_sentencepiece", slowly)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(do, config)
        assert trains.wait(60)
        second = pool.submit(do, other)
        end = time.monotonic() + 60
        while "is using this folder; waiting for it" not in caplog.text:
            assert time.monotonic() < end and not second.done(), "the second does not wait"
            time.sleep(0.05)
        ends.set()
        assert first.result()["vocabulary_size"] == second.result()["vocabulary_size"] == 500
    digests = {
        open_vocabulary(folder / "mix" / "vocabulary").digest
        for folder in (tmp_path / "first", tmp_path / "second")
    }
    assert digests == {open_vocabulary(tmp_path / "v").digest}
    assert not [name for name in files.names(tmp_path / "v") if name.endswith(".lock")]


def test_a_vocabulary_may_be_trained_in_the_run_folder_itself(root, tmp_path):
    config = small(root, tmp_path / "run", vocabulary=VocabularyConfig(str(tmp_path / "run"), 500))
    with run_folder.open_run(config.output, "prepare", config) as run:
        assert prepare(config, run)["vocabulary_size"] == 500


@pytest.fixture(scope="module")
def with_begin(root, opt_like, tmp_path_factory):
    """The small source, prepared with a vocabulary whose texts start with a `begin` id."""
    output = tmp_path_factory.mktemp("with_begin")
    path = VocabularyConfig(path=str(opt_like), size=900)  # exists, so none is trained
    mixture = MixtureConfig(name="mix", forms=("text", "CMF"), author="program", loss="answer")
    return output, do(small(root, output, vocabulary=path, mixtures=(mixture,)))


def test_each_text_starts_with_the_begin_ids_of_its_vocabulary(with_begin, root, opt_like):
    output, result = with_begin
    vocabulary = open_vocabulary(opt_like)
    segments, first_tokens_with_loss = [], 0
    for row in rows_of(output / "mix"):
        for segment in range(1, row["segment_ids"].max() + 1):
            in_segment = row["segment_ids"] == segment
            segments.append(row["tokens"][in_segment].tolist())
            first_tokens_with_loss += int(row["loss_mask"][in_segment][0])
    expected = []
    for _, row in files.read_jsonl(root / "small.jsonl"):
        for form in ("text", "CMF"):
            pieces = prompts.pieces(from_row(row), form, "program")
            ids = [id for piece in pieces for id in vocabulary.encode(piece.text)]
            expected.append([2, *ids, 2])
    assert sorted(segments) == sorted(expected)
    assert first_tokens_with_loss == 0
    assert result["mixtures"]["mix"]["tokens"] == sum(map(len, expected))
    assert result["vocabulary_size"] == 500


def test_the_vocabulary_is_saved_with_the_rows(with_begin, opt_like, tmp_path):
    output, _ = with_begin
    digest = open_vocabulary(opt_like).digest
    manifest = files.read_json(output / "mix" / "manifest.json")
    assert manifest["inputs"]["vocabulary"] == {"size": 500, "digest": digest}
    config = TrainConfig(data=str(output / "mix"), output=str(tmp_path), steps=1, batch_size=8)
    mesh = sharding.make_mesh(config.mesh)
    spec = setup.make_run_spec(config, data_folder.open(config.data), mesh)
    spec.vocabulary.save(tmp_path / "vocabulary")
    assert saved_model.load_vocabulary(tmp_path, digest).digest == digest


def test_rows_or_a_checkpoint_with_another_vocabulary_are_refused(
    with_begin, vocabulary, opt_like, root, tmp_path
):
    output, _ = with_begin
    shutil.copytree(output / "mix", tmp_path / "mix")
    own = open_vocabulary(opt_like).digest
    described = files.read_json(opt_like / "tokenizer_config.json") | {"add_bos_token": False}
    shutil.copytree(opt_like, tmp_path / "bare")
    files.write_json(tmp_path / "bare" / "tokenizer_config.json", described)
    config = TrainConfig(data=str(tmp_path / "mix"), output=str(tmp_path), steps=1, batch_size=8)
    for other in (open_vocabulary(tmp_path / "bare"), vocabulary):
        shutil.rmtree(tmp_path / "mix" / "vocabulary")
        other.save(tmp_path / "mix" / "vocabulary")
        with pytest.raises(UserError, match=f"mix/vocabulary: has the digest {other.digest}, but"):
            data_folder.open(config.data)
        with pytest.raises(UserError, match=f"{other.digest}, but the checkpoint was"):
            saved_model.load_vocabulary(tmp_path / "mix", own)
    path = VocabularyConfig(path=str(tmp_path / "bare"))
    mixtures = (MixtureConfig(name="mix", forms=("text", "CMF"), author="program", loss="answer"),)
    with pytest.raises(
        UserError, match=r"mix: was prepared from other inputs \(vocabulary.digest is"
    ):
        do(small(root, output, vocabulary=path, mixtures=mixtures))


def test_a_damaged_vocabulary_is_refused_and_not_replaced(root, opt_like, tmp_path):
    folder = shutil.copytree(opt_like, tmp_path / "damaged")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "mod')
    with pytest.raises(UserError, match=r"damaged/tokenizer.json: not JSON"):
        do(small(root, tmp_path, vocabulary=VocabularyConfig(path=str(folder), size=500)))
