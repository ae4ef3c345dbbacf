"""Advice in error messages about checkpoints, which works when it is followed."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import selection
from teacherlm_jax.checkpoints.saved_model import load_model, open_checkpoint
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.blank_model import save_blank


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return train_sentencepiece(["one two three"] * 9, folder, size=400, seed=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, vocabulary):
    return save_blank(tmp_path_factory.mktemp("run"), vocabulary, {1: 0.5, 2: 0.25})


def load(path):
    return load_model(path, sharding.make_mesh(MeshConfig()))


def refusal(function, *arguments, **settings):
    with pytest.raises(UserError) as raised:
        function(*arguments, **settings)
    return str(raised.value)


def test_the_run_folder_of_a_training_is_loaded(run):
    message = refusal(load, run.parent / "absent")
    assert message.endswith("no such folder; name a run folder of `train`")
    assert load(run).step == 2


def test_a_run_is_loaded_once_its_training_has_finished(run, vocabulary, tmp_path):
    (tmp_path / "new").mkdir()
    assert refusal(load, tmp_path / "new").endswith("; let `train` finish first")
    save_blank(tmp_path / "new", vocabulary, {1: 0.5})
    assert load(tmp_path / "new").step == 1


def test_the_steps_that_a_message_names_are_loaded(run):
    message = refusal(load, run / "checkpoints" / "9")
    folder, steps = re.search(r"; (\S+) has the steps ([\d, ]+)$", message).groups()
    for step in steps.split(", "):
        assert load(f"{folder}/checkpoints/{step}").step == int(step)


def test_a_run_is_loaded_after_its_vocabulary_is_restored(run, vocabulary):
    train_sentencepiece(["four five six"] * 9, run / "vocabulary", size=400, seed=0)
    message = refusal(load, run)
    assert message.endswith("; restore the vocabulary of that training")
    vocabulary.save(message.partition(": has the digest")[0])
    assert load(run).step == 2


@pytest.mark.parametrize("lost", ["params", "meta"])
def test_a_run_is_loaded_from_an_earlier_step_after_the_damaged_one_is_removed(run, lost):
    shutil.rmtree(run / "checkpoints" / "2" / lost)
    message = refusal(load, run)
    folder, step = re.search(r"; remove (\S+) to resume from step (\d)$", message).groups()
    shutil.rmtree(folder)
    assert load(run).step == int(step) == 1


@pytest.mark.parametrize("item", ["params", "optimizer"])
def test_an_item_is_read_from_an_earlier_step_after_one_with_a_wrong_digest_is_removed(
    tmp_path, item
):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        state = {"a": jnp.full(2, step)}
        checkpoints.save(step, state, state, {})
    checkpoints.close()

    def read(step):
        return getattr(Checkpoints(tmp_path), item)(step, jax.eval_shape(lambda: state))

    shutil.rmtree(tmp_path / "checkpoints/2" / item)
    shutil.copytree(tmp_path / "checkpoints/1" / item, tmp_path / "checkpoints/2" / item)
    message = refusal(read, 2)
    assert "(wrong digest); remove " in message
    folder, step = re.search(r"; remove (\S+) to resume from step (\d)$", message).groups()
    shutil.rmtree(folder)
    assert Checkpoints(tmp_path).steps() == [int(step)]
    assert read(int(step))["a"].tolist() == [1, 1]


def test_a_run_is_loaded_after_its_only_checkpoint_is_removed_and_trained_again(run, vocabulary):
    for step in (1, 2):
        (run / "checkpoints" / str(step) / "meta" / "metadata").write_text("{}")
    message = refusal(load, run)
    assert message.endswith(" has no other complete checkpoint; remove it and train again")
    shutil.rmtree(re.search(r"; (\S+) has no other", message)[1])
    save_blank(run, vocabulary, {1: 0.5})
    assert load(run).step == 1


@pytest.mark.parametrize("way", ["choose another folder", "remove the later checkpoints"])
def test_an_earlier_step_is_saved_in_another_folder_or_without_the_later_ones(run, tmp_path, way):
    def save(folder):
        checkpoints = Checkpoints(folder, keep=2)
        try:
            checkpoints.save(1, {"a": jnp.ones(2)}, None, {})
        finally:
            checkpoints.close()
        return Checkpoints(folder).steps()

    shutil.rmtree(run / "checkpoints" / "1")
    message = refusal(save, run)
    assert way in message
    if way == "choose another folder":
        assert save(tmp_path / "other") == [1]
    else:
        later = json.loads(re.search(r"checkpoints of the steps (\[[\d, ]+\])", message)[1])
        for step in later:
            shutil.rmtree(run / "checkpoints" / str(step))
        assert save(run) == [1]


@pytest.mark.parametrize("key", ["width", "param_dtype"])
def test_parameters_are_read_with_the_model_of_the_checkpoint(run, key):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    model = Checkpoints(run).meta(2)["model"]

    def read(**changes):
        config = ModelConfig(**model | changes)
        _, abstract = sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)
        return Checkpoints(run).params(2, abstract)

    message = refusal(read, **{key: 32 if key == "width" else "bfloat16"})
    assert message.endswith("; set config.model to the sizes and param_dtype of the checkpoint")
    assert read(**{key: model[key]})


@pytest.mark.parametrize("measured", [True, False])
def test_the_checkpoints_that_a_message_names_are_opened_in_place_of_the_best(run, measured):
    metric = {"metric": "creak/accuracy"} if measured else {}
    files.write_json(run / "config.json", {"config": {"validation": metric}})
    files.write_jsonl(run / "validation.jsonl", [{"step": 9, "creak/accuracy": 0.5}])
    message = refusal(open_checkpoint, run / "checkpoints" / "best")
    path = re.search(r", as in (\S+?)(?:, |$)", message)[1]
    checkpoints, step = open_checkpoint(path)
    assert step in checkpoints.steps()
    files.write_json(run / "config.json", {"config": {"validation": {"metric": "creak/accuracy"}}})
    files.write_jsonl(run / "validation.jsonl", [{"step": step, "creak/accuracy": 0.5}])
    assert selection.best_step(run, checkpoints.steps()) == step  # as config.checkpoint.best keeps
