"""`prepare` and the vocabulary: trained or found, in every text, beside the rows, never another."""

import dataclasses
import shutil

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
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.prepare import prepare
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary
from teacherlm_jax.training import setup
from tests.make_run import make_run


def small(root, output, **settings):
    """A config over the small source alone, in two forms."""
    made = {
        "output": str(output),
        "root": str(root),
        "sources": (SourceConfig("small", "small.jsonl"),),
        "mixtures": (MixtureConfig("mix", forms=("text", "CMF"), author="program"),),
        "vocabulary": VocabularyConfig(path=str(output / "vocabulary"), size=600),
        "length": 256,
        "rows_per_shard": 10,
    }
    return PrepareConfig(**made | settings)


def do(config):
    return prepare(config, make_run(config.output))


def rows_of(folder):
    reader = data_folder.open(folder).reader(verify=True)
    for step in range(reader.rows):
        yield {name: value[0] for name, value in reader.batch(step).items()}


def test_a_text_needs_room_behind_what_begins_it(root, opt_like, tmp_path):
    path = VocabularyConfig(path=str(opt_like))
    with pytest.raises(
        UserError, match="config.max_tokens=1: leaves no room for text, because every"
    ):
        do(small(root, tmp_path, vocabulary=path, max_tokens=1))


def test_a_missing_vocabulary_is_trained_only_when_a_size_is_given(root, tmp_path):
    config = small(root, tmp_path, vocabulary=VocabularyConfig(path=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"config.vocabulary.path: no vocabulary in .*none"):
        do(config)
    trained = dataclasses.replace(config.vocabulary, size=500)
    assert do(dataclasses.replace(config, vocabulary=trained))["vocabulary_size"] == 500
    assert Vocabulary.load(tmp_path / "none").size == 500
    assert do(config)["vocabulary_size"] == 500


@pytest.fixture(scope="module")
def begun(root, opt_like, tmp_path_factory):
    """The small source prepared with a vocabulary in a folder of transformers' kind."""
    output = tmp_path_factory.mktemp("begun")
    path = VocabularyConfig(path=str(opt_like), size=900)  # nothing is trained: one is there
    mixture = MixtureConfig(name="mix", forms=("text", "CMF"), author="program", loss="answer")
    return output, do(small(root, output, vocabulary=path, mixtures=(mixture,)))


def test_each_text_begins_as_its_vocabulary_demands(begun, root, opt_like):
    output, result = begun
    vocabulary = open_vocabulary(opt_like)
    found, borne = [], 0
    for row in rows_of(output / "mix"):
        for segment in range(1, row["segment_ids"].max() + 1):
            at = row["segment_ids"] == segment
            found.append(row["tokens"][at].tolist())
            borne += int(row["loss_mask"][at][0])
    wanted = []
    for _, row in files.read_jsonl(root / "small.jsonl"):
        for form in ("text", "CMF"):
            cut = prompts.pieces(from_row(row), form, "program")
            ids = [id for piece in cut for id in vocabulary.encode(piece.text)]
            wanted.append([2, *ids, 2])
    assert sorted(found) == sorted(wanted)
    assert borne == 0
    assert result["mixtures"]["mix"]["tokens"] == sum(map(len, wanted))
    assert result["vocabulary_size"] == 500


def test_the_vocabulary_travels_with_the_rows(begun, opt_like, tmp_path):
    output, _ = begun
    wanted = open_vocabulary(opt_like).digest
    manifest = files.read_json(output / "mix" / "manifest.json")
    assert manifest["inputs"]["vocabulary"] == {"size": 500, "digest": wanted}
    config = TrainConfig(data=str(output / "mix"), output=str(tmp_path), steps=1, batch_size=8)
    mesh = sharding.make_mesh(config.mesh)
    spec = setup.make_run_spec(config, data_folder.open(config.data), mesh)
    spec.vocabulary.save(tmp_path / "vocabulary")
    assert saved_model.load_vocabulary(tmp_path, wanted).digest == wanted


def test_rows_or_a_checkpoint_with_another_vocabulary_are_refused(
    begun, vocabulary, opt_like, root, tmp_path
):
    output, _ = begun
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


def test_a_damaged_vocabulary_is_not_trained_anew(root, opt_like, tmp_path):
    folder = shutil.copytree(opt_like, tmp_path / "cut")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "mod')
    with pytest.raises(UserError, match=r"cut/tokenizer.json: not JSON"):
        do(small(root, tmp_path, vocabulary=VocabularyConfig(path=str(folder), size=500)))
