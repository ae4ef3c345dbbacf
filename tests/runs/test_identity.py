"""A run is identified by its settings and the digests of its inputs, not by paths."""

import shutil

import pytest

from teacherlm_jax.config import (
    BenchmarkConfig,
    EvaluateConfig,
    PrepareConfig,
    SourceConfig,
    TrainConfig,
)
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import identity, run_folder
from teacherlm_jax.storage import files

OLD, NEW = {"data": "sha256:aaa"}, {"data": "sha256:bbb"}


def train(output, *, inputs=OLD, **settings):
    """Open the run folder as `train` does, write a checkpoint, and leave the run unfinished."""
    config = TrainConfig(output=str(output), **({"data": "runs/data"} | settings))
    with run_folder.open_run(config.output, "train", config) as run:
        run.check_inputs(inputs)
        checkpoint = run.path / "checkpoints/1/params"
        if not checkpoint.exists():
            checkpoint.parent.mkdir(parents=True)
            checkpoint.write_text(str(output))


def first_output_of(folder):
    """Return the `output` of the first call of `train`, which the folder's second one resumed."""
    assert len(files.read_json(folder / "versions.json")["before"]) == 1
    return (folder / "checkpoints/1/params").read_text()


def test_a_run_of_before_a_key_was_added_is_resumed_with_the_default_of_the_key(tmp_path):
    train(tmp_path / "run")
    recorded = files.read_json(tmp_path / "run/config.json")
    del recorded["config"]["seed"], recorded["config"]["optimizer"]["schedule"]
    files.write_json(tmp_path / "run/config.json", recorded)
    with pytest.raises(UserError, match=r"with config\.seed=0, but now config\.seed=7"):
        train(tmp_path / "run", seed=7)
    train(tmp_path / "run")
    assert first_output_of(tmp_path / "run") == str(tmp_path / "run")


def test_a_stopped_run_resumes_in_a_folder_that_moved(tmp_path):
    train(tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    train(tmp_path / "after")
    assert first_output_of(tmp_path / "after") == str(tmp_path / "before")
    assert files.read_json(tmp_path / "after/config.json")["config"]["output"].endswith("after")


def test_a_stopped_run_resumes_when_its_folder_is_named_by_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("run")
    train(tmp_path / "run")
    assert first_output_of(tmp_path / "run") == "run"


def test_a_stopped_run_resumes_when_a_data_folder_with_the_same_digest_was_renamed(tmp_path):
    train(tmp_path / "run")
    train(tmp_path / "run", data="elsewhere/data")
    assert first_output_of(tmp_path / "run") == str(tmp_path / "run")
    assert files.read_json(tmp_path / "run/config.json")["config"]["data"] == "elsewhere/data"
    assert files.read_json(tmp_path / "run/inputs.json") == OLD


@pytest.mark.parametrize("finished", [False, True])
def test_other_data_under_the_same_path_is_refused_with_both_digests(tmp_path, finished):
    train(tmp_path / "run")
    if finished:
        files.write_json(tmp_path / "run/result.json", {})
    with pytest.raises(UserError, match="inputs changed") as refused:
        train(tmp_path / "run", inputs=NEW)
    assert "config.data=runs/data (digest sha256:bbb, was sha256:aaa);" in str(refused.value)
    assert files.read_json(tmp_path / "run/inputs.json") == OLD


def test_both_remedies_for_changed_inputs_work(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(UserError, match=r"restore them to resume .*choose another config\.output"):
        train(tmp_path / "run", inputs=NEW)
    train(tmp_path / "run", inputs=OLD)
    train(tmp_path / "other", inputs=NEW)


def test_every_changed_added_or_removed_input_is_named(tmp_path):
    train(tmp_path / "run", inputs={"data": "1", "init_from": "2", "validation.data": "3"})
    with pytest.raises(UserError) as refused:
        train(tmp_path / "run", inputs={"data": "1", "init_from": "4", "benchmarks.mmlu": "5"})
    message = str(refused.value)
    assert "config.benchmarks.mmlu (new, digest 5), config.init_from (digest 4, was 2)" in message
    assert "config.validation.data (no longer used, digest 3)" in message
    assert "config.data" not in message


def test_inputs_may_change_until_work_begins(tmp_path):
    config = TrainConfig(output=str(tmp_path / "run"), data="data")
    for inputs in (OLD, NEW):
        with run_folder.open_run(config.output, "train", config) as run:
            run.check_inputs(inputs)
    assert files.read_json(tmp_path / "run/inputs.json") == NEW


def test_settings_and_inputs_can_be_compared_without_writing(tmp_path):
    def compare(inputs=OLD, **settings):
        config = TrainConfig(output=str(tmp_path / "run"), data="runs/data", **settings)
        run_folder.require_same_settings(config.output, "train", config, may_change=("log_every",))
        return identity.compare_inputs(tmp_path / "run", inputs, {})

    assert not compare()
    assert not (tmp_path / "run").exists()
    train(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert compare(log_every=5)
    with pytest.raises(UserError, match=r"config\.steps=100, but now config\.steps=3;"):
        compare(steps=3)
    with pytest.raises(UserError, match="inputs changed"):
        compare(NEW)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def evaluation(folder, path, name="mmlu"):
    benchmarks = (BenchmarkConfig("creak", "creak.jsonl"), BenchmarkConfig(name, path))
    return EvaluateConfig(output=str(folder), model="runs/model", benchmarks=benchmarks)


def preparation(folder, path, name="mmlu"):
    sources = (SourceConfig("creak", "creak.jsonl"), SourceConfig(name, path))
    return PrepareConfig(output=str(folder), root="data", sources=sources)


@pytest.mark.parametrize("make", [evaluation, preparation])
def test_paths_in_lists_are_not_compared_but_their_other_settings_are(tmp_path, make):
    def opened(config):
        with run_folder.open_run(config.output, "verb", config) as run:
            (run.path / "work").touch()

    opened(make(tmp_path, "a.jsonl"))
    opened(make(tmp_path, "moved/a.jsonl"))
    with pytest.raises(UserError, match=r"\[1\]\.name='mmlu', but now config\..*='other'"):
        opened(make(tmp_path, "a.jsonl", name="other"))


def test_a_setting_that_may_change_does_not_include_one_with_a_longer_name(tmp_path):
    settings = {"profile": 1, "profile_all": 1}

    def compare(**changes):
        changed = identity.changed_settings(
            {"config": settings}, {"config": settings | changes}, ()
        )
        identity.refuse_other_settings(tmp_path, changed, ("profile",))

    compare(profile=2)
    with pytest.raises(UserError, match="profile_all=1, but now"):
        compare(profile_all=2)
