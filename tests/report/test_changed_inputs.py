"""A report marks results whose model or benchmark has changed since, and only those."""

import shutil

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.hf import any_model
from teacherlm_jax.report import collect
from teacherlm_jax.report.build import report
from teacherlm_jax.report.changed_inputs import ChangedInputs, InputComparison
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.make_run import make_run
from tests.untrained import save_untrained


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return two run folders with checkpoints of different parameters."""
    root = tmp_path_factory.mktemp("models")
    vocabulary = train_sentencepiece(["one two three"] * 9, root / "v", size=370, seed=0)
    return [save_untrained(root / str(seed), vocabulary, seed) for seed in (0, 1)]


@pytest.fixture
def evaluated(runs, models):
    """Return the runs, with a real model behind one evaluation."""
    shutil.copytree(models[0], runs / "stage1", dirs_exist_ok=True)
    files.write_json(
        runs / "evaluate_stage1/config.json",
        {"verb": "evaluate", "config": {"model": str(runs / "stage1"), "benchmarks": []}},
    )
    result = files.read_json(runs / "evaluate_stage1/result.json")
    digest = any_model.describe(models[0]).digest
    files.write_json(runs / "evaluate_stage1/result.json", result | {"digest": digest})
    return runs


def _report(runs):
    run = make_run(runs / "report")
    result = report(ReportConfig(output="", root=str(runs), title="t"), run)
    return result["changed"], (run.path / "report.md").read_text()


REMEDY = "repeat the run's command with another config.output, or restore the earlier input"


def test_an_accuracy_of_a_model_that_was_replaced_is_marked_until_it_is_restored(
    evaluated, models, caplog
):
    assert _report(evaluated)[0] == {}
    before = any_model.describe(models[0]).digest
    shutil.rmtree(evaluated / "stage1/checkpoints")
    shutil.copytree(models[1], evaluated / "stage1", dirs_exist_ok=True)
    changed, page = _report(evaluated)
    assert changed == {"evaluate_stage1": ["model"]}
    assert "| stage1 (since changed) | 41.0 (37.6 to 44.0) |" in page
    now = any_model.describe(models[1]).digest
    path = evaluated / "stage1"
    sentence = f"config.model={path}: its digest was {before} for this run and is {now} now"
    assert f"evaluate_stage1: {sentence}" in page
    summary = (evaluated / "report/summary.txt").read_text()
    assert "  stage1 (since changed) " in summary
    title = f"Inputs that changed after the run had finished: {REMEDY}"
    assert f"{title} evaluate_stage1: model " in " ".join(summary.split())
    assert f"its results describe the earlier input: {REMEDY}" in page
    assert f"evaluate_stage1: {sentence}; {REMEDY}" in caplog.messages

    shutil.rmtree(evaluated / "stage1/checkpoints")
    shutil.copytree(models[0], evaluated / "stage1", dirs_exist_ok=True)
    changed, page = _report(evaluated)
    assert changed == {} and REMEDY not in page


def test_a_model_that_was_removed_cannot_be_mistaken_for_another_one(evaluated):
    shutil.rmtree(evaluated / "stage1/checkpoints")
    changed, page = _report(evaluated)
    assert changed == {}
    assert "since changed" not in page


def test_an_input_that_cannot_be_read_is_named_and_does_not_count_as_unchanged(evaluated):
    (damaged,) = (evaluated / "stage1/checkpoints").glob("*/meta/metadata")
    damaged.write_text("{")
    run = make_run(evaluated / "report")
    result = report(ReportConfig(output="", root=str(evaluated), title="t"), run)
    assert (result["changed"], result["not_compared"]) == ({}, {"evaluate_stage1": ["model"]})
    page = (run.path / "report.md").read_text()
    assert f"evaluate_stage1: config.model={evaluated}/stage1: cannot be compared: " in page
    assert "incomplete checkpoint, meta cannot be read" in page
    assert "since changed" not in page
    summary = (evaluated / "report/summary.txt").read_text()
    assert "Inputs that cannot be compared\n  evaluate_stage1: model\n" in summary


def test_recorded_digests_of_benchmarks_teachers_and_initial_models_are_compared(tmp_path, models):
    questions = tmp_path / "creak.jsonl"
    questions.write_text('{"id": "1"}\n')
    benchmark = {"name": "creak", "path": str(questions), "limit": 3, "columns": {"id": "id"}}
    config = {"init_from": str(models[0]), "teachers": {"cot": str(models[0])}}
    config |= {"benchmarks": [benchmark], "validation": {"benchmarks": [benchmark]}}
    digests = {"init_from": any_model.describe(models[0]).digest}
    digests["benchmarks.creak"] = benchmarks.digest(_benchmark(questions), "")
    digests["validation.benchmarks.creak"] = digests["benchmarks.creak"]
    result = {"kinds": {"cot": {"model_digest": digests["init_from"]}}}
    files.write_json(tmp_path / "run/inputs.json", digests)
    assert ChangedInputs().compare(tmp_path / "run", config, result) == InputComparison()

    questions.write_text('{"id": "2"}\n')
    config |= {"init_from": str(models[1]), "teachers": {"cot": str(models[1])}}
    changes = ChangedInputs().compare(tmp_path / "run", config, result).changed
    assert sorted(changes) == sorted([*digests, "teachers.cot"])
    assert changes["benchmarks.creak"].startswith(f"config.benchmarks.creak={questions}: its dig")


def _benchmark(path):
    return benchmarks.BenchmarkConfig(name="creak", path=str(path))


def test_a_model_on_the_hub_is_not_downloaded_to_compare_it(tmp_path):
    files.write_json(tmp_path / "inputs.json", {"model": "sha256:0"})
    assert ChangedInputs().compare(tmp_path, {"model": "hf://org/name"}, {}) == InputComparison()


def inputs_whose_store_raises(error):
    def describe(path):
        raise error

    inputs = ChangedInputs()
    inputs._model = describe
    return inputs


def compared(inputs, evaluated):
    folder = evaluated / "evaluate_stage1"
    read = [files.read_json(folder / name) for name in ("config.json", "result.json")]
    return inputs.compare(StoragePath(folder), read[0]["config"], read[1])


def test_a_store_that_does_not_answer_ends_the_report(evaluated):
    error = StoreError("gs://b/model: cannot be read: the store did not answer as expected")
    with pytest.raises(StoreError, match="did not answer"):
        compared(inputs_whose_store_raises(error), evaluated)


@pytest.mark.parametrize("kind", ["input", "permission"])
def test_an_invalid_input_or_one_of_somebody_else_is_named(evaluated, kind):
    error = UserError("model: damaged")
    if kind == "permission":
        error = StoreError("gs://b/model: cannot be read: permission denied")
        error.__cause__ = OSError("Forbidden: gs://b/model")
    comparison = compared(inputs_whose_store_raises(error), evaluated)
    assert comparison.not_compared["model"].endswith(f": cannot be compared: {error}")


def test_a_teacher_on_a_server_is_not_compared(tmp_path):
    address = "http://127.0.0.1:9/v1#teacher"
    config = {"teachers": {"cot": address}}
    result = {"kinds": {"cot": {"model_digest": "sha256:1"}}}
    assert ChangedInputs().compare(tmp_path, config, result) == InputComparison()
    assert collect.label(address, tmp_path) == collect.label(address, ".") == address
