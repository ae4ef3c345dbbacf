"""Advice in error messages about TensorFlow's rows, inputs and Beam, which works when followed."""

import argparse
import dataclasses
import importlib
import re
import shutil
import sys

import pytest
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig, SourceConfig, VocabularyConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import beam
from teacherlm_jax.sources.raw_rows import open_rows
from teacherlm_jax.storage import files
from tests.tokenization.test_hf_folder import template

from .test_prepare_vocabulary import do, small

EXAMPLE = tf.train.Example(
    features=tf.train.Features(
        feature={"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))}
    )
).SerializeToString()


def refusal(function, *arguments, **settings):
    with pytest.raises(UserError) as raised:
        function(*arguments, **settings)
    return str(raised.value)


def read(path, **settings):
    return list(open_rows(SourceConfig("set", str(path), **settings), "").read())


def write_record(path):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(EXAMPLE)


def test_the_version_of_a_dataset_that_a_message_names_can_be_read(builder):
    message = refusal(read, builder.parent, reader="tfds")
    path = re.search(r"; give the folder of one version of a TFDS dataset, (\S+)$", message)[1]
    assert len(read(path)) == 3


def test_a_dataset_can_be_read_with_another_split_or_after_it_is_prepared_again(
    builder,
    tmp_path,
):
    message = refusal(read, builder, split="test")
    assert message.endswith("; name another split, or prepare the dataset again")
    assert len(read(builder, split=re.search(r"\['(\w+)'\]", message)[1])) == 3
    damaged = shutil.copytree(builder, tmp_path / "1.0.0")
    (damaged / "dataset_info.json").write_text("{")
    assert refusal(read, damaged).endswith("; name another split, or prepare the dataset again")
    shutil.copytree(builder, damaged, dirs_exist_ok=True)
    assert len(read(damaged)) == 3


@pytest.mark.parametrize("way", ["remove it", "copy it again"])
def test_records_can_be_read_after_an_empty_file_is_removed_or_copied_again(tmp_path, way):
    write_record(tmp_path / "a.tfrecord")
    (tmp_path / "b.tfrecord").touch()
    path, advice = refusal(read, tmp_path / "*.tfrecord").split(": empty file; ")
    assert advice == "remove it, or copy it again"
    if way == "remove it":
        (tmp_path / "b.tfrecord").unlink()
    else:
        write_record(path)
    assert len(read(tmp_path / "*.tfrecord")) == (1 if way == "remove it" else 2)


def test_records_can_be_read_after_a_damaged_file_is_copied_again(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_record(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert refusal(read, path).endswith("; copy it again")
    path.write_bytes(whole)
    assert len(read(path)) == 1


@pytest.mark.parametrize("way", ["name a folder with a vocabulary", "train one there with"])
def test_a_vocabulary_is_named_or_trained_as_a_message_says(root, vocabulary, tmp_path, way):
    config = small(root, tmp_path / "run", vocabulary=VocabularyConfig(str(tmp_path / "words")))
    message = refusal(do, config)
    assert way in message
    if way == "name a folder with a vocabulary":
        vocabulary.save(tmp_path / "other")
        config.vocabulary.path = str(tmp_path / "other")
    else:
        config.vocabulary.size = int(re.search(r"with config\.vocabulary\.size=(\d+)$", message)[1])
    assert do(config)["mixtures"]["mix"]["texts"]


@pytest.fixture
def two_begin(opt_like, tmp_path):
    """Folder of a tokenizer that begins each text with `<s></s>`."""
    folder = shutil.copytree(opt_like, tmp_path / "two_begin")
    tokenizer = files.read_json(folder / "tokenizer.json")
    tokenizer["post_processor"] = template("<s>", "</s>", "$")
    files.write_json(folder / "tokenizer.json", tokenizer)
    return folder


@pytest.mark.parametrize("key", ["max_tokens", "length"])
def test_texts_have_room_after_the_key_that_a_message_names_is_raised(
    root, two_begin, tmp_path, key
):
    opened = VocabularyConfig(str(two_begin))
    config = small(root, tmp_path / "run", vocabulary=opened, **{key: 2})
    named = re.search(r"; raise config\.(\w+)$", refusal(do, config))[1]
    assert do(dataclasses.replace(config, **{named: 256}))["mixtures"]["mix"]["texts"]


@pytest.mark.parametrize("way", ["remove it", "give the mixture another name"])
def test_a_mixture_is_prepared_after_a_foreign_folder_is_removed_or_avoided(root, tmp_path, way):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "notes.txt").touch()
    config = small(root, tmp_path)
    message = refusal(do, config)
    assert way in message
    name = "mix"
    if way == "remove it":
        shutil.rmtree(message.partition(": exists but")[0])
    else:
        name = "another"
        config.mixtures = (MixtureConfig(name, forms=("text",), author="program"),)
    assert do(config)["mixtures"][name]["texts"]


def test_rows_are_prepared_without_a_runner_if_beam_is_not_installed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "_import_beam", beam._import_beam.__wrapped__)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    config = small(root, tmp_path, runner="DirectRunner")
    assert refusal(do, config).endswith(", or leave config.runner empty")
    assert do(dataclasses.replace(config, runner=""))["mixtures"]["mix"]["texts"]


# A runner and options that are refused, the advice, and a runner and options that follow it.
DIRECT = ("DirectRunner", ("--direct_running_mode=in_memory", "--direct_num_workers=1"))
WRONG = {
    "runner": (("NoRunner", ()), "; name another runner, or install what it needs"),
    "value": (("DirectRunner", ("--direct_num_workers=x",)), "; correct the option"),
    "option": (
        ("DirectRunner", ("--direct_workers=1",)),
        "; see the help of apache_beam.options.pipeline_options.DirectOptions",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_beam_runs_with_the_runner_and_options_that_messages_lead_to(data, tmp_path, fault):
    pytest.importorskip("apache_beam", reason="Beam is an extra: requirements-beam.txt")
    wrong, advice = WRONG[fault]
    message = refusal(beam.Beam, *wrong)
    assert message.endswith(advice)
    if fault == "option":
        module, _, kind = advice.rpartition(" ")[2].rpartition(".")
        parser = argparse.ArgumentParser()
        getattr(importlib.import_module(module), kind)._add_argparse_args(parser)
        assert all(option.partition("=")[0] in parser.format_help() for option in DIRECT[1])
    beam.Beam(*DIRECT).run("touch", ["a", "b"], [_Touch(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


class _Touch:
    """A stage that creates a file for each element."""

    def __init__(self, folder):
        self._folder = folder

    def __call__(self, name):
        (self._folder / name).touch()
        return ()
