"""Advice in messages of a training's setup, followed without a step."""

import dataclasses
import re
import types

import jax
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, TrainConfig, ValidationConfig
from teacherlm_jax.data import packing
from teacherlm_jax.data import prepared as prepared_rows
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.tokenized import tokenize
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece
from teacherlm_jax.training import setup, warm_start
from teacherlm_jax.training.extension import extended_keys
from teacherlm_jax.training.held_out import HeldOutRows, open_data
from teacherlm_jax.training.loss_tokens import refuse_without_loss
from tests.blank_model import save_blank


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


@pytest.mark.parametrize(("accumulate", "batch_size"), [(1, 12), (2, 24)])
def test_a_batch_is_shared_evenly_after_each_remedy(accumulate, batch_size):
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=4))
    message = refusal(sharding.refuse_uneven_batch, mesh, batch_size, accumulate)
    step, tensor = re.search(
        r"choose a multiple of (\d+), or a config\.mesh\.tensor above (\d+), ", message
    ).groups()
    sharding.refuse_uneven_batch(mesh, int(step), accumulate)
    sharding.refuse_uneven_batch(mesh, 3 * int(step), accumulate)
    fewer = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2 * int(tensor)))
    sharding.refuse_uneven_batch(fewer, batch_size, accumulate)


def test_each_vocabulary_size_that_a_message_names_fits_the_data():
    model = ModelConfig(vocab_size=100)
    message = refusal(setup.fit_to_vocabulary, model, 300)
    sizes = re.search(r"set it to (\d+) or more, or to (\d) for exactly as many$", message).groups()
    for size in sizes:
        changed = dataclasses.replace(model, vocab_size=int(size))
        assert setup.fit_to_vocabulary(changed, 300).vocab_size == 300


def with_max_tokens(folder, tokens):
    manifest = files.read_json(folder / "manifest.json")
    manifest["inputs"]["max_tokens"] = tokens
    files.write_json(folder / "manifest.json", manifest)
    return prepared_rows.open(folder)


def test_data_of_texts_as_short_as_a_message_says_fit_the_model(write_prepared, prepared, tmp_path):
    model = ModelConfig("opt", vocab_size=400, max_positions=31)
    vocabulary = Vocabulary.load(prepared / "vocabulary")
    text = packing.Encoded([5, 6], [True, True])
    folder = write_prepared(tmp_path / "data", [text], vocabulary, 32)
    message = refusal(setup.fit_to_data, model, prepared_rows.open(folder), "data")
    tokens = re.search(r"with config\.max_tokens=(\d+) or less$", message)[1]
    assert setup.fit_to_data(model, with_max_tokens(folder, int(tokens)), "data") == model


def test_rows_with_another_loss_have_trained_tokens(prepared, without_loss):
    def check(folder):
        reader = prepared_rows.open(folder).reader(batch_size=8)
        return refuse_without_loss(reader, reader.rows, "config.data")

    message = refusal(check, without_loss)
    assert "prepare the data again with a larger length, or another loss or too_long" in message
    check(prepared)


@pytest.fixture
def others(tmp_path):
    """Another vocabulary than that of the data."""
    return train_sentencepiece(["four five six"] * 9, tmp_path / "others", size=400, seed=0)


def test_held_out_rows_of_the_same_vocabulary_are_read(prepared, write_prepared, others, tmp_path):
    text = packing.Encoded([5, 6], [True, True])
    held_out = write_prepared(tmp_path / "held_out", [text] * 8, others, 32)
    mesh = sharding.make_mesh(MeshConfig())
    vocabulary = Vocabulary.load(prepared / "vocabulary")
    spec = types.SimpleNamespace(vocabulary=vocabulary, model=ModelConfig(), graph=None)

    def read(folder):
        validation = ValidationConfig(data=str(folder), every=1)
        config = TrainConfig(output="runs/x", data=str(prepared), validation=validation)
        return HeldOutRows(config, open_data(config, spec), spec, mesh)

    assert refusal(read, held_out).endswith("; prepare both with the same one")
    read(prepared)


def test_a_run_starts_from_a_model_with_the_vocabulary_that_a_message_names(
    prepared, others, tmp_path
):
    run = save_blank(tmp_path / "run", others, {7: 0.5})
    model = ModelConfig(layers=1, width=16, heads=2, vocab_size=others.size)
    mesh = sharding.make_mesh(MeshConfig(data=8))
    abstract = sharding.abstract_model(lambda: registry.build(model, nnx.Rngs(0)), mesh)[1]

    def start(vocabulary):
        return warm_start.warm_start(str(run), model, vocabulary, abstract)

    message = refusal(start, Vocabulary.load(prepared / "vocabulary"))
    path = re.search(r"prepare the data with config\.vocabulary\.path=(\S+)$", message)[1]
    assert jax.tree.structure(start(open_vocabulary(path))) == jax.tree.structure(abstract)


def test_a_run_whose_learning_rate_decays_is_continued_from_the_folder_that_a_message_names():
    before = TrainConfig(output="runs/x", steps=4)
    before.optimizer.schedule = "cosine"
    longer = dataclasses.replace(before, steps=8)
    message = refusal(extended_keys, dataclasses.asdict(before), longer)
    folder = re.search(r"choose another config\.output, with (\S+) as config\.init_from$", message)
    assert folder[1] == before.output  # test_extension.py trains from it
    constant = dataclasses.replace(before.optimizer, schedule="constant")
    before = dataclasses.replace(before, optimizer=constant)
    longer = dataclasses.replace(longer, optimizer=constant)
    assert extended_keys(dataclasses.asdict(before), longer) == ("steps",)


class Characters:
    """A vocabulary with one token per character."""

    begin: tuple[int, ...] = ()

    def encode_batch(self, texts):
        return [[ord(character) for character in text] for text in texts]


def test_an_option_in_a_validation_fits_with_the_value_of_the_key_that_a_message_names():
    questions = [Question(id="q", context="abc", options=("ABCD",))]

    def read(max_length):
        key = "config.validation.max_length"
        return tokenize(questions, Characters(), max_length, 0, key)

    message = refusal(read, 3)
    assert message.startswith("config.validation.max_length=3: ")
    assert read(int(re.search(r"raise it to (\d+) or more$", message)[1]))


def test_a_model_is_built_with_the_size_of_the_vocabulary(prepared):
    def build(size):
        model = ModelConfig(layers=1, width=16, heads=2, vocab_size=size)
        return nnx.eval_shape(lambda: registry.build(model, nnx.Rngs(0)))

    assert refusal(build, 0).endswith("; set it to the size of the vocabulary")
    size = Vocabulary.load(prepared / "vocabulary").size
    assert build(size).embedding.get_value().shape[0] == size
