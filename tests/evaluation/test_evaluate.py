"""The verb `evaluate` with a checkpoint of random parameters."""

import dataclasses
import json
import math
import shutil
import sys
import types

import pyarrow as pa
import pytest

from teacherlm_jax import capacity
from teacherlm_jax.cli.main import main
from teacherlm_jax.config import BenchmarkConfig, EvaluateConfig
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.evaluation import predictions, scoring
from teacherlm_jax.evaluation.evaluate import evaluate, inputs
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.limited_memory import run_limited
from tests.make_run import make_run
from tests.tracking.events import events_of
from tests.untrained import save_untrained


def _with_options(count: int) -> list:
    candidates = (sample for sample in synthetic.generate(400, seed=1) if sample.options)
    return [next(candidates) for _ in range(count)]


@pytest.fixture(scope="module")
def samples():
    return _with_options(12)


def _saved(folder, samples, **shape):
    texts = [prompts.question_prompt(sample) for sample in samples]
    vocabulary = train_sentencepiece(texts, folder / "vocabulary", size=400, seed=0)
    return save_untrained(folder, vocabulary, **shape)


@pytest.fixture(scope="module")
def model(tmp_path_factory, samples):
    """A run folder with one checkpoint; its model computes in float32."""
    return _saved(tmp_path_factory.mktemp("model"), samples)


@pytest.fixture(scope="module")
def tracked():
    """Steps and scalars that a service of the user's own gets."""
    rows = []
    module = types.SimpleNamespace(
        track=lambda run: lambda scalars, step: rows.append((step, scalars))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "my_evaluations", module)
        yield rows


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, model, samples, tracked):
    folder = tmp_path_factory.mktemp("evaluate")
    rows = [{**to_row(sample), "subject": f"s{i % 2}"} for i, sample in enumerate(samples)]
    open_question = {"id": "open", "question": "Why?", "answer": "so"}
    files.write_jsonl(folder / "set.jsonl", [*rows, open_question, {"id": "no question"}])
    config = EvaluateConfig(
        root=str(folder),
        model=str(model),
        benchmarks=(BenchmarkConfig(name="toys", path="set.jsonl"),),
        batch_tokens=512,
        track=("tensorboard", "my_evaluations:track"),
    )
    run = make_run(folder / "run")
    return run.path, evaluate(config, run)


def test_predictions_are_written_one_per_question_with_all_scores(evaluated, samples):
    folder, _ = evaluated
    rows = [row for _, row in files.read_jsonl(folder / "toys.predictions.jsonl")]
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    for sample, row in zip(samples, rows, strict=True):
        assert f"({row['gold']})" == sample.answer
        assert list(row["scores"]) == list("ABCDEFGH"[: len(sample.options)])
        assert all(math.isfinite(score) and score < 0 for score in row["scores"].values())
        assert row["prediction"] == max(row["scores"], key=row["scores"].get)


def test_the_result_summarizes_the_predictions(evaluated, samples):
    folder, result = evaluated
    rows = [row for _, row in files.read_jsonl(folder / "toys.predictions.jsonl")]
    actual = result["benchmarks"]["toys"]
    right = [row["gold"] == row["prediction"] for row in rows]
    assert actual["rows"] == len(samples)
    assert actual["accuracy"] == sum(right) / len(right)
    assert actual["interval"][0] <= actual["accuracy"] <= actual["interval"][1]
    assert {name: figures["rows"] for name, figures in actual["by_subject"].items()} == {
        "s0": 6,
        "s1": 6,
    }
    assert actual["macro_accuracy"] == pytest.approx(actual["accuracy"])  # subjects of equal size
    assert actual["macro_interval"][0] < actual["macro_accuracy"] < actual["macro_interval"][1]
    assert (actual["refused"], actual["truncated"]) == (2, 0)
    assert actual["seconds"] > 0
    costs = result["costs"]
    assert costs["questions"] == len(samples)
    assert costs["scored_tokens"] == sum(len(row["scores"]) for row in rows)  # letters
    assert costs["tokens"] > costs["scored_tokens"] and costs["flops"] > 0
    assert (costs["chips"], costs["devices"]) == (8, ["cpu"])
    assert costs["seconds"] > actual["seconds"]
    assert result["step"] == 7
    assert result["digest"].startswith("sha256:")
    json.dumps(result)


def test_an_evaluation_is_tracked_at_the_step_of_its_model_with_a_table(evaluated, tracked):
    folder, result = evaluated
    figures = result["benchmarks"]["toys"]
    names = ("accuracy", "macro_accuracy")
    assert tracked[0] == (7, {f"toys/{name}": figures[name] for name in names})
    assert tracked[1][0] == 7
    assert tracked[1][1]["result/benchmarks.toys.rows"] == figures["rows"]
    (events,) = (folder / "tensorboard").iterdir()
    (table,) = [text for _, name, text in events_of(events) if name == "results/text_summary"]
    assert table.splitlines()[0] == (
        "| benchmark | rows | accuracy | macro_accuracy | majority | low | high |"
    )
    assert table.splitlines()[2].startswith(f"| toys | {figures['rows']} | {figures['accuracy']} ")


def test_an_evaluation_that_failed_is_tracked_as_a_whole_when_it_is_repeated(
    evaluated, model, tmp_path, monkeypatch
):
    rows = []
    monkeypatch.setitem(sys.modules, "my_service", types.SimpleNamespace(
        track=lambda run: lambda scalars, step: rows.append(scalars)
    ))  # fmt: skip
    questions = str(evaluated[0].parent / "set.jsonl")
    names = ("first", "second")
    config = EvaluateConfig(
        model=str(model),
        benchmarks=tuple(BenchmarkConfig(name=name, path=questions) for name in names),
        batch_tokens=512,
        track=("my_service:track",),
    )
    score = predictions.score

    def fail_in_the_second(*arguments, name, **more):
        if name.endswith("second"):
            raise UserError("out of luck")
        return score(*arguments, name=name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(predictions, "score", fail_in_the_second)
        with pytest.raises(UserError, match="out of luck"):
            evaluate(config, make_run(tmp_path))
    evaluate(config, make_run(tmp_path))
    scalars, result = rows
    assert {key.partition("/")[0] for key in scalars} == set(names)
    assert "result/benchmarks.second.accuracy" in result


def test_refused_rows_are_written_next_to_the_predictions(evaluated):
    folder, _ = evaluated
    refused = [row for _, row in files.read_jsonl(folder / "toys.refused.jsonl")]
    assert [row["reason"].partition(";")[0] for row in refused] == [
        "no options to rank",
        "no question",
    ]


def test_contexts_are_truncated_to_the_positions_of_the_model(tmp_path, samples):
    opt = _saved(tmp_path / "opt", samples, family="opt", max_positions=20)
    files.write_jsonl(tmp_path / "set.jsonl", [to_row(sample) for sample in samples])
    toys = BenchmarkConfig(name="toys", path="set.jsonl")
    config = EvaluateConfig(root=str(tmp_path), model=str(opt), benchmarks=(toys,))
    run = make_run(tmp_path / "run")
    result = evaluate(config, run)["benchmarks"]["toys"]
    assert 0 < result["truncated"] <= result["rows"] == len(samples)


def test_unusable_benchmarks_are_refused_before_the_model_is_loaded(tmp_path):
    run = make_run(tmp_path)
    config = EvaluateConfig(model="nowhere", benchmarks=(BenchmarkConfig("a", "x"),))
    with pytest.raises(UserError, match="x: no file matches"):
        evaluate(config, run)


def test_a_nan_score_is_an_error_that_names_the_model_and_the_question(
    tmp_path, model, samples, monkeypatch
):
    scores = [(-1.0,) * len(sample.options) for sample in samples]
    scores[3] = (math.nan, *scores[3][1:])
    monkeypatch.setattr(scoring.Scorer, "score", lambda self, encoded, **_: scores)
    files.write_jsonl(tmp_path / "set.jsonl", map(to_row, samples))
    config = EvaluateConfig(
        root=str(tmp_path), model=str(model), benchmarks=(BenchmarkConfig("toys", "set.jsonl"),)
    )
    with pytest.raises(UserError, match=f"{model} on toys: NaN .* question {samples[3].id}, "):
        evaluate(config, make_run(tmp_path))
    assert not (tmp_path / "toys.predictions.jsonl").exists()


def _config_file(folder, model, samples):
    files.write_jsonl(folder / "set.jsonl", map(to_row, samples))
    (folder / "config.py").write_text(
        "from teacherlm_jax.config import *\n\n"
        "def get_config(variant):\n"
        f"    benchmark = BenchmarkConfig('toys', 'set.jsonl', score=variant or 'letters')\n"
        f"    return EvaluateConfig(root={str(folder)!r}, model={str(model)!r},\n"
        "        benchmarks=(benchmark,))\n"
    )


def _scores(folder, variant, output, *overrides):
    output = folder / output
    config = f"--config={folder / 'config.py'}:{variant}"
    assert main(["evaluate", config, f"--config.output={output}", *overrides]) == 0
    rows = [row for _, row in files.read_jsonl(output / "toys.predictions.jsonl")]
    return {(row["id"], name): score for row in rows for name, score in row["scores"].items()}


SCORED = [("letters", "mean"), ("texts", "mean"), ("texts", "bytes"), ("texts", "unconditional")]


@pytest.mark.parametrize(("variant", "reduction"), SCORED)
def test_scores_in_float32_do_not_depend_on_batch_tokens_or_order(
    tmp_path, model, samples, variant, reduction
):
    reduced = f"--config.benchmarks[0].reduction={reduction}"
    _config_file(tmp_path, model, samples)
    one = _scores(tmp_path, variant, "one", "--config.batch_tokens=1", reduced)
    many = _scores(tmp_path, variant, "many", "--config.batch_tokens=4096", reduced)
    assert many == pytest.approx(one, abs=1e-6, rel=0)
    _config_file(tmp_path, model, samples[::-1])
    other = _scores(tmp_path, variant, "other", "--config.batch_tokens=300", reduced)
    assert other == pytest.approx(one, abs=1e-6, rel=0)
    result = files.read_json(tmp_path / "one" / "result.json")
    assert result["dtype"] == "float32"


def test_the_tokenization_and_the_reduction_are_keys_and_in_the_result(tmp_path, model, samples):
    _config_file(tmp_path, model, samples)
    keys = {"tokenization": "joint", "reduction": "unconditional", "unconditional_prompt": "So A:"}
    flags = [f"--config.benchmarks[0].{key}={value}" for key, value in keys.items()]
    joint = _scores(tmp_path, "texts", "joint", *flags)
    plain = _scores(tmp_path, "texts", "plain")
    assert joint.keys() == plain.keys() and joint != plain
    result = files.read_json(tmp_path / "joint" / "result.json")["benchmarks"]["toys"]
    assert result["settings"] | keys | {"score": "texts", "shots": 0} == result["settings"]
    by_reduction = result["accuracy_by_reduction"]
    assert list(by_reduction) == ["mean", "sum", "bytes", "unconditional"]
    assert by_reduction["unconditional"] == result["accuracy"]


def test_the_dtype_of_the_computation_is_a_key_and_by_default_float32(tmp_path, model, samples):
    in_bfloat16 = _saved(tmp_path / "model", samples, dtype="bfloat16")  # the same parameters
    _config_file(tmp_path, in_bfloat16, samples)
    default = _scores(tmp_path, "letters", "default")
    exact = _scores(tmp_path, "letters", "exact", f"--config.model={model}")
    rounded = _scores(tmp_path, "letters", "rounded", "--config.dtype=bfloat16")
    assert default == pytest.approx(exact, abs=2e-5, rel=0)
    assert max(abs(rounded[key] - exact[key]) for key in exact) > 1e-4
    assert files.read_json(tmp_path / "rounded" / "result.json")["dtype"] == "bfloat16"


def test_the_inputs_are_identified_by_digests(tmp_path, model, samples):
    files.write_jsonl(tmp_path / "set.jsonl", map(to_row, samples))
    toys = BenchmarkConfig("toys", "set.jsonl")
    config = EvaluateConfig(root=str(tmp_path), model=str(model), benchmarks=(toys,))
    first = inputs(config)
    assert first.keys() == {"model", "benchmarks.toys"}
    assert all(value.startswith("sha256:") for value in first.values())
    files.write_jsonl(tmp_path / "set.jsonl", map(to_row, samples[:-1]))
    changed = inputs(config)
    assert changed["model"] == first["model"]
    assert changed["benchmarks.toys"] != first["benchmarks.toys"]


def _command(folder, *overrides):
    output = f"--config.output={folder / 'run'}"
    return main(["evaluate", f"--config={folder / 'config.py'}", output, *overrides])


def test_a_finished_evaluation_notices_another_benchmark_at_the_same_path(
    tmp_path, model, samples, capsys
):
    _config_file(tmp_path, model, samples)
    assert _command(tmp_path) == 0
    before = (tmp_path / "run" / "result.json").read_bytes()
    files.write_jsonl(tmp_path / "set.jsonl", map(to_row, samples[:-1]))
    assert _command(tmp_path) == 2
    message = capsys.readouterr().err
    assert "inputs changed since this run was started: config.benchmarks.toys" in message
    assert message.count("sha256:") == 2 and "choose another config.output" in message
    assert (tmp_path / "run" / "result.json").read_bytes() == before


def test_a_finished_evaluation_notices_another_model_at_the_same_path(
    tmp_path, model, samples, capsys
):
    shutil.copytree(model, tmp_path / "model")
    _config_file(tmp_path, tmp_path / "model", samples)
    assert _command(tmp_path) == 0
    shutil.rmtree(tmp_path / "model")
    _saved(tmp_path / "model", samples, initializer_range=0.5)
    assert _command(tmp_path) == 2
    assert f"config.model={tmp_path / 'model'} (digest sha256:" in capsys.readouterr().err


def test_a_finished_evaluation_knows_its_inputs_under_another_path(
    tmp_path, model, samples, capsys
):
    _config_file(tmp_path, model, samples)
    assert _command(tmp_path) == 0
    shutil.copytree(model, tmp_path / "moved")
    assert _command(tmp_path, f"--config.model={tmp_path / 'moved'}") == 0
    assert "finished before" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "moved")
    assert _command(tmp_path, f"--config.model={tmp_path / 'moved'}") == 0
    assert "its inputs cannot be compared" in capsys.readouterr().out


def test_a_store_that_does_not_answer_is_not_taken_for_a_removed_input(
    tmp_path, model, samples, capsys, monkeypatch
):
    _config_file(tmp_path, model, samples)
    assert _command(tmp_path) == 0

    def fail(path):
        raise StoreError(f"{path}: cannot be read: the store did not answer as expected")

    monkeypatch.setattr(any_model, "describe", fail)
    assert _command(tmp_path) == 2
    assert f"{model}: cannot be read: the store did not" in capsys.readouterr().err


def test_ties_are_counted_and_reported_when_every_option_has_the_same_score(
    tmp_path, samples, capsys
):
    model = _saved(tmp_path / "flat", samples, initializer_range=1e-30)
    _config_file(tmp_path, model, samples)
    assert _command(tmp_path) == 0
    result = files.read_json(tmp_path / "run" / "result.json")["benchmarks"]["toys"]
    assert result["ties"] == len(samples)
    warning = f"toys: {len(samples)} of {len(samples)} questions have several options with the best"
    assert warning in capsys.readouterr().out


def test_a_model_too_large_for_the_device_is_refused(tmp_path, model, samples, capsys, monkeypatch):
    _config_file(tmp_path, model, samples)
    monkeypatch.setattr(capacity, "available", lambda device: 9000)
    assert _command(tmp_path) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"teacherlm: {model}: its parameters need ")
    assert message.endswith(" use a machine with more memory\n")


def test_a_split_of_a_saved_dataset_is_a_benchmark(tmp_path, model, samples):
    rows = [
        {key: row[key] for key in ("id", "question", "options", "answer")}
        for row in map(to_row, samples)
    ]
    table = pa.Table.from_pylist(rows)
    folder = tmp_path / "set" / "validation"
    folder.mkdir(parents=True)
    path = folder / "data-00000-of-00001.arrow"
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": path.name}], "_split": "validation"}
    files.write_json(folder / "state.json", state)
    files.write_json(tmp_path / "set" / "dataset_dict.json", {"splits": ["validation"]})
    toys = BenchmarkConfig("toys", "set", split="validation")
    config = EvaluateConfig(root=str(tmp_path), model=str(model), benchmarks=(toys,))
    run = make_run(tmp_path / "run")
    assert evaluate(config, run)["benchmarks"]["toys"]["rows"] == len(samples)
    wrong = dataclasses.replace(config, benchmarks=(dataclasses.replace(toys, split="train"),))
    with pytest.raises(UserError, match="no split 'train'"):
        evaluate(wrong, run)


LONG = """
from teacherlm_jax.config import *

def get_config(variant):
    return EvaluateConfig(
        output={output!r},
        model={model!r},
        benchmarks=(BenchmarkConfig("long", {rows!r}),),
        max_length=2048,
    )
"""


def test_memory_that_runs_out_is_reported_with_the_keys_that_lower_it(
    model, samples, one_device, tmp_path
):
    """Attention over 256 prompts of 2048 tokens needs 8 GiB for its scores alone."""
    long = [dataclasses.replace(samples[0], question="why " * 3000, id=str(n)) for n in range(256)]
    files.write_jsonl(tmp_path / "rows.jsonl", [to_row(sample) for sample in long])
    path = tmp_path / "mine.py"
    path.write_text(
        LONG.format(
            output=str(tmp_path / "run"), model=str(model), rows=str(tmp_path / "rows.jsonl")
        )
    )
    words = ["evaluate", f"--config={path}", "--config.batch_tokens=600000"]
    status, message = run_limited(6, words, one_device)
    assert status == 2
    assert message.startswith("teacherlm: out of memory")
    assert "; lower config.batch_tokens or config.max_length, or use devices with more" in message
    words = [*words[:-1], "--config.batch_tokens=2048", "--config.benchmarks[0].limit=4"]
    assert run_limited(6, words, one_device) == (0, "")
