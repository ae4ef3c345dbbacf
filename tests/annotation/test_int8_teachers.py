"""Annotation by teachers whose weights are in int8."""

import dataclasses
import sys

import pytest

from teacherlm_jax.annotation.explained_rows import KindCounts
from teacherlm_jax.annotation.job import job
from teacherlm_jax.config import TeachersConfig, TrainConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files
from tests.make_run import make_run


@pytest.fixture(scope="module")
def config(make_config, teachers, tmp_path_factory):
    config = make_config(cot=teachers[0], mistake=teachers[1])
    folder = tmp_path_factory.mktemp("int8") / "run"
    return dataclasses.replace(config, output=str(folder), weights="int8")


@pytest.fixture(scope="module")
def result(config):
    return verbs.run("annotate", config)


def test_all_explanations_are_written_and_record_the_weights(
    config, result, samples, teachers, tmp_path
):
    assert result["kinds"]["cot"]["count"] == result["kinds"]["mistake"]["count"] == len(samples)
    assert {kind["weights"] for kind in result["kinds"].values()} == {"int8"}
    assert result["kinds"]["cot"]["model_digest"] == any_model.describe(teachers[0]).digest
    exact = dataclasses.replace(config, weights="", output=str(tmp_path))
    job.annotate(exact, make_run(tmp_path))
    for folder, weights in ((config.output, "int8"), (tmp_path, "float32")):
        rows = [row for _, row in files.read_jsonl(f"{folder}/texts/cot/part-00000.jsonl")]
        assert {(row["weights"], row["dtype"]) for row in rows} == {(weights, "float32")}


def test_a_finished_job_is_found_again_and_not_resumed_with_other_weights(config, result):
    assert verbs.run("annotate", config) == result
    with pytest.raises(UserError, match=r"config\.weights"):
        verbs.run("annotate", dataclasses.replace(config, weights=""))


def test_rows_of_earlier_versions_have_no_weights():
    row = {"teacher": "t", "step": 1, "model_digest": "d", "prompt_tokens": 1, "new_tokens": 1,
           "gates": {}, "finish_reason": "eos"}  # fmt: skip
    counts = KindCounts(())
    counts.add(row)
    assert "weights" not in counts.result()


def test_a_missing_package_ends_the_job_before_the_source_is_read(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(UserError, match="pip install -r requirements-int8.txt"):
        job.annotate(config, make_run(tmp_path))
    assert not (tmp_path / "job.json").exists()


def test_weights_have_no_meaning_for_teachers_at_addresses_and_are_no_key_of_a_training(config):
    served = dataclasses.replace(config, teachers=TeachersConfig(cot="http://host/v1#model"))
    with pytest.raises(UserError, match="weights: 'int8' is set, but all teachers"):
        fields.check(served)
    assert "weights" not in {field.name for field in dataclasses.fields(TrainConfig)}
