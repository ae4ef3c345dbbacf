"""The commands in sequence, with all inputs and outputs in a bucket and nothing else shared."""

import json
import os
import tempfile

import pytest

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath

MODEL = config.ModelConfig(layers=1, width=16, heads=2, dtype="float32")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working directory, and an empty folder for temporary files in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def test_every_command_works_in_a_bucket_alone(bucket, empty, capsys):
    samples = [sample for sample in synthetic.generate(200, seed=1) if sample.options][:24]
    files.write_jsonl(f"{bucket}/samples.jsonl", [to_row(sample) for sample in samples])
    source = config.SourceConfig("samples", "samples.jsonl")
    benchmark = config.BenchmarkConfig(name="toys", path="samples.jsonl")
    settings = {
        "prepare": config.PrepareConfig(
            output=f"{bucket}/data",
            root=bucket,
            sources=(source,),
            mixtures=(config.MixtureConfig("mix", forms=("text",), author="synthetic"),),
            vocabulary=config.VocabularyConfig(f"{bucket}/vocabulary", size=400),
            length=128,
        ),
        "train": config.TrainConfig(
            output=f"{bucket}/train", data=f"{bucket}/data/mix", steps=2, batch_size=8, model=MODEL
        ),
        "annotate": config.AnnotateConfig(
            output=f"{bucket}/annotate",
            root=bucket,
            source=source,
            teachers=config.TeachersConfig(cot=f"{bucket}/train"),
            sampling=config.SamplingConfig(max_new_tokens=3),
            slots=8,
        ),
        "evaluate": config.EvaluateConfig(
            output=f"{bucket}/evaluate",
            root=bucket,
            model=f"{bucket}/train/checkpoints/2",
            benchmarks=(benchmark,),
        ),
        "report": config.ReportConfig(output=f"{bucket}/report", root=bucket),
    }
    results = {name: verbs.run(name, settings[name]) for name in settings}

    written = set(objects.listing(bucket))
    for name, result in results.items():
        folder = settings[name].output
        assert json.loads(objects.read(f"{folder}/result.json")) == result
        assert objects.read(f"{folder}/log.txt")
    assert results["prepare"]["mixtures"]["mix"]["texts"] == 24
    assert results["annotate"]["kinds"]["cot"]["count"] == 24
    assert results["evaluate"]["benchmarks"]["toys"]["rows"] == 24
    assert results["report"]["runs"] == {"prepare": 1, "train": 1, "annotate": 1, "evaluate": 1}
    assert {"vocabulary/vocabulary.json", "report/report.html"} <= written
    assert os.listdir() == ["temporary"]
    assert not list((empty / "temporary").glob("teacherlm-*"))

    capsys.readouterr()
    for name in settings:
        assert verbs.run(name, settings[name]) == results[name]
    again = capsys.readouterr().out
    assert f"{bucket}/data/mix: already prepared" in again
    assert f"{bucket}/train: finished before" in again
    assert f"{bucket}/annotate: finished before" in again
    assert str(empty) not in again
    assert StoragePath(f"{bucket}/train/checkpoints/2/commit_success.txt").exists()
