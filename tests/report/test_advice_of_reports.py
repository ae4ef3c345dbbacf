"""Advice in messages of `report`, followed up to what is read."""

import re
import types

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.data import packing
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import collect, data_inputs
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import open_vocabulary, train_sentencepiece


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def records(root):
    return collect.find_runs(str(root), StoragePath(root) / "report")


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_the_folder_that_holds_the_runs_is_reported(runs, name):
    (runs.parent / "empty").mkdir()
    message = refusal(records, runs.parent / name)
    assert message.endswith("; name the folder that holds the runs")
    assert len(records(runs)) > 1


def problem(root, name):
    return next(record.problem for record in records(root) if record.name == name)


def test_a_run_with_a_result_of_another_shape_is_reported_after_its_remedy(runs):
    path = runs / "evaluate_stage1" / "result.json"
    result = files.read_json(path)
    files.write_json(path, {"model": "m"})
    file = re.search(
        r"^(\S+): it lacks .*; remove this file and repeat the command of the run$",
        problem(runs, "evaluate_stage1"),
    )[1]
    StoragePath(file).unlink()
    files.write_json(path, result)  # what the command writes
    assert problem(runs, "evaluate_stage1") == ""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return train_sentencepiece(["one two three"] * 9, folder, size=400, seed=0)


def test_samples_are_counted_with_the_vocabulary_that_a_message_names(tmp_path, vocabulary):
    sample = Sample(id="a", question="Up?", answer="yes")
    message = refusal(data_inputs.vocabulary_of_samples, str(tmp_path / "data"), sample)
    folder = re.search(r"as in --config\.vocabulary=(\S+)$", message)[1]
    vocabulary.save(tmp_path / folder)
    data = types.SimpleNamespace(vocabulary=vocabulary, mixture="C")
    data_inputs.require_digest(str(tmp_path / folder), data)
    vocabulary.save(tmp_path / "vocabulary")  # beside the data
    found = data_inputs.vocabulary_of_samples(str(tmp_path / "data"), sample)
    assert found.digest == vocabulary.digest


def test_a_mixture_is_counted_with_its_own_vocabulary_when_none_is_named(
    tmp_path, vocabulary, write_prepared, capsys
):
    other = train_sentencepiece(["four five six"] * 9, tmp_path / "other", size=400, seed=0)
    text = packing.Encoded([5, 6], [True, True])
    folder = write_prepared(tmp_path / "C", [text], vocabulary, 8, texts=1, tokens=2)
    words = ["report", f"--data={folder}"]
    assert main.main([*words, f"--config.vocabulary={tmp_path / 'other'}"]) == 2
    assert "leave config.vocabulary empty to use the vocabulary of the" in capsys.readouterr().err
    assert other.digest != open_vocabulary(folder / "vocabulary").digest
    assert main.main(words) == 0
