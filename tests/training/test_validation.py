import dataclasses
import json
import shutil
import signal

import pytest

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import saved_model, selection
from teacherlm_jax.config import (
    BenchmarkConfig,
    CheckpointConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    ProfileConfig,
    TrainConfig,
    ValidationConfig,
)
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.evaluation import predictions, rank, scoring
from teacherlm_jax.evaluation.benchmarks import read
from teacherlm_jax.hf import any_model
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.validation import Validation

from .test_loop import lines, open_run, parameters


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A folder with a benchmark of a few two-option questions."""
    folder = tmp_path_factory.mktemp("questions")
    rows = [
        {"id": f"q{n}", "question": "red is blue" if n % 2 else "one or two and the red",
         "options": ["True", "False"], "answer": "AB"[n % 2], "subject": "s"}
        for n in range(6)
    ]  # fmt: skip
    files.write_jsonl(folder / "set.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def config(prepared, questions):
    return TrainConfig(
        output="runs/unused",
        data=str(prepared),
        model=ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=0.02, warmup_steps=2),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(keep=1, best=1),
        validation=ValidationConfig(
            every=2,
            root=str(questions),
            benchmarks=(BenchmarkConfig("set", "set.jsonl"),),
            data=str(prepared),
            rows=11,
            metric="held_out/loss",
        ),
        batch_size=8,
        steps=6,
        log_every=4,
    )


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("finished"))
    result = train(config, run)
    files.write_json(run.path / "config.json", {"config": dataclasses.asdict(config)})
    return run, result


def steps_of(run):
    return sorted(int(path.name) for path in (run.path / "checkpoints").iterdir())


def comparable(run):
    """Measurements, and metrics without times: bit-equal for equal runs."""
    timed = ("seconds", "tokens_per_second", "tokens_per_second_per_chip")
    metrics = [row for _, row in files.read_jsonl(run.path / "metrics.jsonl")]
    kept = [{key: row[key] for key in row if key not in timed} for row in metrics]
    return selection.measurements(run.path), kept


def test_a_run_validates_at_its_interval_and_keeps_the_best_checkpoint(finished):
    run, result = finished
    rows = selection.measurements(run.path)
    assert [row["step"] for row in rows] == [2, 4, 6]
    names = {"set/accuracy", "set/macro_accuracy", "held_out/loss", "held_out/accuracy"}
    assert all(row.keys() == names | {"step"} for row in rows)
    losses = [row["held_out/loss"] for row in rows]
    assert losses[0] > losses[1] > losses[2] > 0, "a model that learns, on rows that it has seen"
    assert result["best_checkpoint"].endswith("checkpoints/6")
    assert steps_of(run) == [6]
    progress = [line for line in lines(run) if line.startswith("validation at step 4")]
    assert "held_out/loss" in progress[0] and progress[0].endswith("(best)")


def test_option_texts_are_reduced_as_their_benchmark_says(config, tmp_path):
    """The short option is always right, and a sum over more tokens is lower."""
    rows = [
        {"question": f"is it {word}", "options": ["red", "blue because the one is not two"],
         "answer": "A"}
        for word in ("one", "two", "three", "red")
    ]  # fmt: skip
    files.write_jsonl(tmp_path / "set.jsonl", rows)
    reductions = ("sum", "mean")
    benchmarks = [
        BenchmarkConfig(name, "set.jsonl", score="texts", reduction=name) for name in reductions
    ]
    validation = ValidationConfig(every=4, root=str(tmp_path), benchmarks=tuple(benchmarks))
    texts = dataclasses.replace(
        config, validation=validation, checkpoint=CheckpointConfig(), steps=4
    )
    run = open_run(tmp_path / "run")
    train(texts, run)
    (measured,) = selection.measurements(run.path)
    loaded = any_model.load(run.path, sharding.make_mesh(MeshConfig()))
    for benchmark in benchmarks:
        questions = read(benchmark, str(tmp_path), RefusedRows(None))
        predicted, _ = predictions.score(loaded, questions, reduction=benchmark.reduction)
        accuracy = rank.summarize(predicted)["accuracy"]
        assert measured[f"{benchmark.name}/accuracy"] == accuracy
    assert measured["sum/accuracy"] == 1 > measured["mean/accuracy"]


def test_the_held_out_loss_counts_every_row_once(finished, config, tmp_path):
    """Eleven rows in batches of eight, against the same rows in one batch of sixteen."""
    whole = dataclasses.replace(config, batch_size=16, steps=2, init_from=str(finished[0].path))
    slow = dataclasses.replace(whole, optimizer=OptimizerConfig(learning_rate=1e-30))
    run = open_run(tmp_path)
    train(slow, run)
    (row,) = selection.measurements(run.path)
    expected = selection.measurements(finished[0].path)[-1]
    assert row["held_out/loss"] == pytest.approx(expected["held_out/loss"], rel=1e-6)
    assert row["set/accuracy"] == expected["set/accuracy"]


def test_the_best_and_the_newest_checkpoint_are_kept_and_the_best_can_be_named(config, tmp_path):
    rising = dataclasses.replace(
        config,
        optimizer=OptimizerConfig(learning_rate=0.5),
        validation=dataclasses.replace(config.validation, metric="held_out/loss", rows=0),
    )
    run = open_run(tmp_path)
    result = train(rising, run)
    files.write_json(run.path / "config.json", {"config": dataclasses.asdict(rising)})
    best = selection.ranking(selection.measurements(run.path), "held_out/loss")[0]
    assert steps_of(run) == sorted({best, 6})
    assert result["best_checkpoint"].endswith(f"checkpoints/{best}")
    measured = {row["step"]: row["held_out/loss"] for row in selection.measurements(run.path)}
    assert result["best_metric"] == measured[best] == min(measured.values())
    assert parameters(run.path / "checkpoints" / "best")[1].step == best


def test_the_best_value_is_reported_when_its_checkpoint_was_not_kept(config, tmp_path, monkeypatch):
    accuracies = iter((0.25, 0.19, 0.125, 0.125))
    monkeypatch.setattr(Validation, "_measured", lambda *_: [("set/accuracy", next(accuracies))])
    falling = dataclasses.replace(
        config,
        steps=8,
        checkpoint=CheckpointConfig(keep=1, best=0),
        validation=dataclasses.replace(config.validation, metric="set/accuracy"),
    )
    run = open_run(tmp_path)
    result = train(falling, run)
    assert (result["best_metric"], result["best_step"]) == (0.25, 2)
    assert result["final_metric"] == 0.125
    assert "best_checkpoint" not in result and steps_of(run) == [8]
    assert lines(run)[-1].startswith("the checkpoint of step 2, the best by set/accuracy, was not")
    assert "config.checkpoint.best=1" in lines(run)[-1]


def test_a_run_stops_when_its_metric_does_not_improve(finished, config, tmp_path):
    stuck = dataclasses.replace(
        config,
        optimizer=OptimizerConfig(learning_rate=1e-30),
        validation=dataclasses.replace(config.validation, metric="set/accuracy", patience=1),
        log_every=50,  # it stops before the first progress line is due
    )
    run = open_run(tmp_path)
    result = train(stuck, run)
    assert result["stopped_early"] and result["step"] == 4
    assert [row["step"] for row in selection.measurements(run.path)] == [2, 4]
    assert lines(run)[-2].startswith("stopped early at step 4")
    again = open_run(tmp_path)
    assert train(stuck, again)["step"] == 4
    assert not any(line.startswith("step") for line in lines(again))


def test_the_last_validation_of_a_run_does_not_end_its_extension(config, tmp_path, monkeypatch):
    accuracies = iter((0.5, 0.4, 0.6, 0.7))
    monkeypatch.setattr(Validation, "_measured", lambda *_: [("set/accuracy", next(accuracies))])
    patient = dataclasses.replace(
        config,
        output=str(tmp_path / "run"),
        steps=3,
        validation=dataclasses.replace(config.validation, metric="set/accuracy", patience=1),
    )
    assert verbs.run("train", patient)["step"] == 3
    result = verbs.run("train", dataclasses.replace(patient, steps=6))
    assert (result["step"], result["best_step"]) == (6, 6)
    measured = selection.measurements(tmp_path / "run")
    assert [row["step"] for row in measured] == [2, 3, 4, 6]


def test_a_validation_without_memory_loses_no_step_and_can_be_repeated_with_smaller_batches(
    finished, config, tmp_path, monkeypatch
):
    encoded, calls = scoring.batches, []

    def batches(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return encoded(*args, **kwargs)

    here = dataclasses.replace(config, output=str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "batches", batches)
        with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
            verbs.run("train", here)
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["2", "4"]
    smaller = dataclasses.replace(config.validation, batch_tokens=64)
    result = verbs.run("train", dataclasses.replace(here, validation=smaller))
    assert result["loss"] == finished[1]["loss"]
    own, expected = (parameters(path)[1].digest for path in (here.output, finished[0].path))
    assert own == expected


def test_a_run_stopped_during_its_last_validation_has_the_metrics_of_an_uninterrupted_one(
    config, tmp_path
):
    stuck = dataclasses.replace(
        config,
        optimizer=OptimizerConfig(learning_rate=1e-30),
        validation=dataclasses.replace(config.validation, metric="set/accuracy", patience=1),
        log_every=50,
    )
    whole, stopped = open_run(tmp_path / "whole"), open_run(tmp_path / "stopped")
    result = train(stuck, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "batches", Stopping())
        with pytest.raises(Interrupted, match="SIGTERM: saved at step 4 of 6"):
            train(stuck, stopped)
    resumed = open_run(tmp_path / "stopped")
    assert train(stuck, resumed)["loss"] == result["loss"]
    assert comparable(resumed) == comparable(whole)


class Stopping:
    """Sends SIGTERM when the second measurement begins."""

    def __init__(self):
        self._encoded, self._calls = scoring.batches, 0

    def __call__(self, *args, **kwargs):
        self._calls += 1
        if self._calls == 2:
            signal.raise_signal(signal.SIGTERM)
        return self._encoded(*args, **kwargs)


def test_a_run_stopped_during_validation_and_resumed_equals_an_uninterrupted_one(
    finished, config, tmp_path
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "batches", Stopping())
        with pytest.raises(Interrupted, match="SIGTERM: saved at step 4 of 6"):
            train(config, open_run(tmp_path))
    assert [row["step"] for row in selection.measurements(tmp_path)] == [2]
    resumed = open_run(tmp_path)
    result = train(config, resumed)
    expected_run, expected = finished
    assert comparable(resumed) == comparable(expected_run)
    assert result["loss"] == expected["loss"]
    assert parameters(tmp_path)[1].digest == parameters(expected_run.path)[1].digest


def test_validations_of_lost_steps_are_repeated(finished, config, tmp_path):
    run = open_run(tmp_path)
    shutil.copytree(finished[0].path, run.path, dirs_exist_ok=True)
    shutil.rmtree(run.path / "checkpoints")
    with (run.path / "validation.jsonl").open("a") as file:
        file.write('{"step": 8, "held')  # as a crash leaves it
    train(dataclasses.replace(config, steps=3), run)
    assert [row["step"] for row in selection.measurements(run.path)] == [2, 3]


def test_the_summary_has_speed_and_time_by_activity(finished):
    run, result = finished
    summary = files.read_json(run.path / "summary.json")
    assert summary["steps"] == 6 and summary["chips"] == 8
    assert summary["tokens"] == result["tokens"]
    assert summary["tokens_per_second"] == pytest.approx(8 * summary["tokens_per_second_per_chip"])
    assert sum(summary["seconds"].values()) == pytest.approx(summary["wall_seconds"])
    assert sum(summary["share"].values()) == pytest.approx(1)
    for activity in ("start", "compile", "steps", "checkpoint", "validation"):
        assert summary["seconds"][activity] > 0, activity
    assert summary["goodput"] == summary["share"]["steps"]
    times = summary["step_seconds"]
    assert 0 < times["p50"] <= times["p90"] <= times["p99"] <= times["max"]
    assert (
        summary["model_flops_per_token"] > 6 * 400 * 16 and summary["peak_flops_per_chip"] is None
    )


def test_a_trace_beyond_the_last_step_is_refused(config, tmp_path):
    late = dataclasses.replace(config, profile=ProfileConfig("5:7"))
    with pytest.raises(UserError, match=r"config.profile.steps: '5:7' ends after the last step"):
        train(late, open_run(tmp_path))


def test_traces_of_the_steps_that_were_asked_for(config, tmp_path):
    traced = dataclasses.replace(
        config, steps=4, validation=ValidationConfig(), checkpoint=CheckpointConfig(),
        profile=ProfileConfig("2:3", memory=True),
    )  # fmt: skip
    run = open_run(tmp_path)
    train(traced, run)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert (tmp_path / "profile/memory_3_process_0.prof").stat().st_size > 0
    assert any(line.startswith("traced steps 2 to 3") for line in lines(run))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "mmlu/accuracy"}, "config.validation.metric: 'mmlu/accuracy' is not measured"),
        ({"every": 0}, "config.validation.every: works only with"),
        ({"metric": "", "patience": 1}, "config.validation.metric: empty"),
        ({"data": "", "metric": ""}, "config.validation.rows: works only with"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"root": "nowhere"}, "nowhere/set.jsonl"),
    ],
)
def test_impossible_validation_settings_are_refused_by_key(config, tmp_path, changes, message):
    validation = dataclasses.replace(config.validation, **changes)
    wrong = dataclasses.replace(config, validation=validation, checkpoint=CheckpointConfig(keep=1))
    with pytest.raises(UserError, match=message):
        train(wrong, open_run(tmp_path))
    assert not (tmp_path / "checkpoints").exists()


def test_a_best_checkpoint_needs_a_metric_and_a_measurement(config, tmp_path):
    wrong = dataclasses.replace(config, validation=ValidationConfig())
    with pytest.raises(UserError, match=r"config.checkpoint.best: needs config.validation.metric"):
        train(wrong, open_run(tmp_path))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"config": {"validation": {"metric": ""}}}))
    with pytest.raises(UserError, match=f"{run}: was trained without config.validation.metric"):
        selection.best_step(run, [3, 6])
    metric = {"config": {"validation": {"metric": "a/accuracy"}}}
    (run / "config.json").write_text(json.dumps(metric))
    with pytest.raises(UserError, match=r"none of its checkpoints \(3, 6\) has a value of"):
        selection.best_step(run, [3, 6])
    files.write_jsonl(run / "validation.jsonl", [
        {"step": 3, "a/accuracy": 0.5}, {"step": 6, "a/accuracy": 0.5},
        {"step": 9, "a/accuracy": 0.9},
    ])  # fmt: skip
    assert selection.best_step(run, [3, 6]) == 3
    assert saved_model.BEST == "best"
