"""The model of the paper that a run stands for: by key, by training run, by mixture and shape."""

import dataclasses

import pytest
from etils import epath

from teacherlm_jax import config
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.report.paper import measured, standing
from teacherlm_jax.storage import files


def record(path, verb, settings, result):
    values = {
        "path": epath.Path(path),
        "name": epath.Path(path).name,
        "verb": verb,
        "config": settings,
        "result": result,
        "versions": {},
        "problem": "",
        "refused": False,
        "changes": {},
        "not_compared": {},
    }
    known = {field.name for field in dataclasses.fields(RunRecord)}
    return RunRecord(**{key: value for key, value in values.items() if key in known})


def training(folder, mixture, shape, **keys):
    """Return the record of a training run on a mixture."""
    files.write_json(folder / "data" / "manifest.json", {"mixture": mixture})
    settings = TrainConfig(str(folder / "run"), str(folder / "data"), **keys)
    settings.model = registry.shape(shape)
    return record(folder / "run", "train", dataclasses.asdict(settings), {"tokens": 1})


def evaluation(folder, model, results, name="evaluation", **keys):
    """Return the record of an evaluation; `results` are rows and accuracy by format."""
    benchmarks = [{"name": f"my-{format}", "format": format} for format in results]
    by_name = {
        f"my-{format}": {"rows": rows, "accuracy": right, "macro_accuracy": 0.9, "by_subject": {}}
        for format, (rows, right) in results.items()
    }
    settings = {"benchmarks": benchmarks, **keys}
    return record(folder / name, "evaluate", settings, {"model": model, "benchmarks": by_name})


def name_of(*runs):
    return [found.name for found in standing.of_runs(Lineage(runs))]


@pytest.mark.parametrize(
    ("mixture", "shape", "base", "expected"),
    [
        ("teacher_stage2", "bloom-7b1", "", "teacher/7b1/stage2"),
        ("teacher_no_stage", "bloom-560m", "hf://bigscience/bloom-560m", "teacher/560m/no_stage"),
        ("teacher_stage1", "bloom-1b7", "", ""),  # no size of the paper
        ("teacher_stage1", "bloom-176b", "", ""),  # not a stage of this size
        ("student_CMF", "opt-6.7b", "", "student/opt-6.7b/multi/CMF"),
        ("student_CMF", "bloom-3b", "", ""),  # or BLOOMZ
        ("student_CMF", "bloom-3b", "hf://bigscience/bloomz-3b", "student/bloomz-3b/multi/CMF"),
        ("student_CMF", "bloom-3b", "hf://bigscience/bloom-3b@r", "student/bloom-3b/multi/CMF"),
        ("student_C", "bloom-7b1", "hf://bigscience/bloomz-7b1", ""),  # or one task
        ("mine", "opt-6.7b", "", ""),
    ],
)
def test_mixture_shape_and_base_determine_a_model_if_only_one_fits(
    tmp_path, mixture, shape, base, expected
):
    run = training(tmp_path, mixture, shape, init_from=base)
    assert name_of(run) == [expected]
    key = "student/opt-1.3b/multi/M"
    assert name_of(training(tmp_path, mixture, shape, init_from=base, stands_for=key)) == [key]
    assert name_of(training(tmp_path, mixture, shape, init_from=base, stands_for="none")) == [""]


def test_the_manifest_and_not_the_name_of_its_folder_names_the_mixture(tmp_path):
    run = training(tmp_path / "teacher_stage1", "teacher_stage2", "bloom-7b1")
    assert name_of(run) == ["teacher/7b1/stage2"]
    (tmp_path / "teacher_stage1/data/manifest.json").unlink()
    (found,) = standing.of_runs(Lineage([run]))
    assert found.name == "" and found.reason.startswith("no manifest of its data at config.data=")


def test_an_evaluation_finds_its_training_run_among_the_runs_and_elsewhere(tmp_path):
    run = training(tmp_path, "teacher_stage2", "bloom-7b1")
    for model in ("run", "run/checkpoints/best", "run/checkpoints/120"):
        evaluated = evaluation(tmp_path, str(tmp_path / model), {"mmlu": (1, 0.5)})
        assert name_of(run, evaluated)[1] == "teacher/7b1/stage2"
        assert name_of(evaluated) == [""]  # the training run is not there
    files.write_json(tmp_path / "run/config.json", {"verb": "train", "config": run.config})
    assert name_of(evaluated) == ["teacher/7b1/stage2"]
    files.write_json(tmp_path / "run/config.json", {"verb": "convert", "config": run.config})
    assert name_of(evaluated) == [""]


def test_only_published_students_of_the_paper_stand_for_models_before_training(tmp_path):
    def name(model):
        return name_of(evaluation(tmp_path, model, {"creak": (1, 0.5)}))[0]

    assert name("hf://bigscience/bloomz-1b1") == "student/bloomz-1b1/pretrained"
    assert name("hf://facebook/opt-6.7b@main") == "student/opt-6.7b/pretrained"
    assert name("hf://facebook/opt-30b") == name("hf://mine/bloomz-1b1") == ""


def test_most_questions_count_and_several_training_runs_have_their_mean(tmp_path):
    name = "student/opt-1.3b/multi/C"
    runs = [
        evaluation(tmp_path, f"m{number}", {"creak": result}, f"run-{number}", stands_for=name)
        for number, result in enumerate([(100, 0.9), (1371, 0.60), (1371, 0.64)])
    ]
    found = measured.Measured(standing.of_runs(Lineage(runs))).accuracy(name, "creak")
    assert found.value == pytest.approx(62) and found.rows == 1371
    assert found.runs == ("run-1", "run-2")


def test_a_benchmark_of_another_format_fills_no_cell(tmp_path):
    name = "student/opt-1.3b/multi/C"
    run = evaluation(tmp_path, "m", {"sample": (5, 0.5)}, stands_for=name)
    ours = measured.Measured(standing.of_runs(Lineage([run])))
    assert ours.accuracy(name, "creak") is None and ours.accuracy(name, "sample") is None


def test_few_shot_results_fill_no_cell_and_other_prompts_are_named(tmp_path):
    name = "student/opt-1.3b/multi/C"
    run = evaluation(tmp_path, "m", {"creak": (5, 0.5), "ecqa": (5, 0.5)}, stands_for=name)
    run.config["benchmarks"][0]["shots"] = 5
    run.config["benchmarks"][1]["style"] = "clean"
    ours = measured.Measured(standing.of_runs(Lineage([run])))
    assert ours.accuracy(name, "creak") is None and ours.accuracy(name, "ecqa").rows == 5
    assert list(measured.other_settings(run)) == [
        "my-creak has shots=5 and fills no cell: the paper is zero-shot",
        "my-ecqa has style=clean, where the paper has authors",
    ]


def annotation(folder, source, name, rows, **tokens):
    """Return the record of an annotation of a task of P3; `tokens` are mean tokens by kind."""
    settings = config.AnnotateConfig(
        source=config.SourceConfig(source, f"{source}.parquet"), stands_for="data/p3"
    )
    kinds = {kind: {"count": rows, "mean_tokens": mean} for kind, mean in tokens.items()}
    result = {"rows": rows, "kinds": kinds}
    return record(folder / name, "annotate", dataclasses.asdict(settings), result)


def test_samples_and_tokens_of_annotations_of_several_tasks_are_combined(tmp_path):
    runs = [
        annotation(tmp_path, "task_a", "a", 100, cot=50.0),
        annotation(tmp_path, "task_b", "b", 300, cot=70.0),
    ]
    ours = measured.Measured(standing.of_runs(Lineage(runs))).data["data/p3"]
    assert ours == {"train": 400, "cot": 65.0}


def test_annotations_of_the_same_samples_count_once(tmp_path):
    runs = [
        annotation(tmp_path, "task_a", "unfinished", 90, cot=10.0, mistake=11.0),
        annotation(tmp_path, "task_a", "one", 100, cot=50.0),
        annotation(tmp_path, "task_a", "other_teacher", 100, cot=20.0, fundamental=30.0),
    ]
    ours = measured.Measured(standing.of_runs(Lineage(runs))).data["data/p3"]
    assert ours == {"train": 100, "cot": 50.0, "fundamental": 30.0, "mistake": 11.0}


def test_options_are_those_of_an_evaluation_of_all_questions(tmp_path):
    name = "student/opt-1.3b/multi/C"
    runs = [
        evaluation(tmp_path, name, {"ecqa": (rows, 0.5)}, folder, stands_for=name)
        for folder, rows in (("few", 2193), ("all", 2194))
    ]
    for folder, numbers in (("few", [2]), ("all", [5, 4])):
        scores = [{"scores": dict.fromkeys("ABCDE"[:number], -1.0)} for number in numbers]
        files.write_jsonl(tmp_path / folder / "my-ecqa.predictions.jsonl", scores)
    ours = measured.Measured(standing.of_runs(Lineage(runs))).data
    assert ours == {"data/ecqa": {"test": 2194, "options": 4.5}}


def test_explanations_by_people_are_those_that_a_student_was_trained_on(tmp_path):
    name = "student/bloomz-7b1/creak/C/human"
    run = training(tmp_path, "student_C", "bloom-7b1", stands_for=name)
    assert measured.Measured(standing.of_runs(Lineage([run]))).data == {}
    by_field = {"answer": {"count": 9, "mean": 1.0}, "cot": {"human": {"count": 9, "mean": 15.2}}}
    manifest = {"mixture": "student_C", "statistics": {"tokens_by_field": by_field}}
    files.write_json(tmp_path / "data/manifest.json", manifest)
    assert measured.Measured(standing.of_runs(Lineage([run]))).data == {
        "data/creak": {"human": 15.2}
    }


@pytest.mark.parametrize("known_by", ["validation", "readers", "nothing"])
def test_the_best_checkpoint_of_a_training_run_is_its_model_if_it_has_one(tmp_path, known_by):
    name = "teacher/560m/stage1"
    run = training(tmp_path, "mine", "bloom-560m", stands_for=name)
    if known_by == "validation":
        run.result["best_checkpoint"] = "elsewhere/checkpoints/3"
    if known_by == "readers":
        files.write_json(run.path / "selection.json", {"step": 3})
    ours = measured.Measured(standing.of_runs(Lineage([run])))
    model = run.path if known_by == "nothing" else run.path / "checkpoints/best"
    assert ours.trained == {name: model}


def test_the_last_of_several_training_runs_gives_the_settings_and_the_folder(tmp_path):
    name = "teacher/560m/stage1"
    runs = [
        training(tmp_path / folder, "mine", "bloom-560m", stands_for=name, batch_size=size)
        for folder, size in (("a", 64), ("b", 32))
    ]
    ours = measured.Measured(standing.of_runs(Lineage(runs)))
    assert ours.trained == {name: tmp_path / "b/run"}
    assert ours.settings[name]["batch_size"] == 32


@pytest.mark.parametrize(
    ("models", "kept"),
    [
        (("r/checkpoints/1000", "r/checkpoints/900"), 0),
        (("r/checkpoints/1000", "r", "r/checkpoints/900"), 1),
        (("r", "r/checkpoints/best", "r/checkpoints/1000"), 1),
        (("hf://facebook/opt-1.3b", "hf://facebook/opt-1.3b@main"), 0),
    ],
)
def test_evaluations_of_one_training_run_are_no_repetitions(tmp_path, models, kept):
    name = "student/opt-1.3b/multi/C"
    runs = [
        evaluation(tmp_path, model, {"creak": (9, number / 10)}, f"e{number}", stands_for=name)
        for number, model in enumerate(models)
    ]
    ours = measured.Measured(standing.of_runs(Lineage(runs)))
    assert ours.accuracy(name, "creak").runs == (f"e{kept}",)
    assert ours.accuracy(name, "creak").value == pytest.approx(10 * kept)
    assert len(ours.left_out) == len(models) - 1
    assert all(
        line.endswith(f"is left out: e{kept} counts for the same training run")
        for line in ours.left_out
    )


def test_checkpoints_of_a_training_that_has_moved_between_their_evaluations_count_once(tmp_path):
    name = "student/opt-1.3b/multi/C"
    trained = training(tmp_path / "new", "student_C", "opt-1.3b", stands_for=name)
    trained.config["output"] = f"{tmp_path}/old/run"
    runs = [
        evaluation(tmp_path, f"{tmp_path}/{model}", {"creak": (9, right)}, f"e{step}")
        for model, right, step in (
            ("old/run/checkpoints/900", 0.4, 900),
            ("new/run/checkpoints/1000", 0.6, 1000),
        )
    ]
    ours = measured.Measured(standing.of_runs(Lineage([trained, *runs])))
    assert ours.accuracy(name, "creak").runs == ("e1000",)
    (line,) = ours.left_out
    assert line.endswith("is left out: e1000 counts for the same training run")


def test_models_that_were_at_one_path_one_after_the_other_are_two_trainings(tmp_path):
    name = "student/opt-1.3b/multi/C"
    runs = [
        evaluation(tmp_path, f"{tmp_path}/run", {"creak": (9, right)}, f"e{right}", stands_for=name)
        for right in (0.4, 0.6)
    ]
    runs[0].changes["model"] = "its digest was … for this run and is … now"
    assert measured.Measured(standing.of_runs(Lineage(runs))).accuracy(name, "creak").value == 50


def test_an_evaluation_stands_for_its_training_run_after_the_folder_has_moved(tmp_path):
    trained = training(tmp_path / "old", "teacher_stage2", "bloom-7b1")
    evaluated = evaluation(tmp_path, f"{trained.path}/checkpoints/best", {"mmlu": (14042, 0.3)})
    assert name_of(trained, evaluated) == ["teacher/7b1/stage2"] * 2
    (tmp_path / "old").rename(tmp_path / "new")
    moved = dataclasses.replace(trained, path=tmp_path / "new/run")
    assert name_of(moved, evaluated) == ["", ""]  # its data have moved too
    moved.config["data"] = str(tmp_path / "new/data")
    assert name_of(moved, evaluated) == ["teacher/7b1/stage2"] * 2


def test_an_evaluation_does_not_stand_for_another_run_at_the_path_of_its_model(tmp_path):
    run = training(tmp_path, "teacher_stage2", "bloom-7b1")
    evaluated = evaluation(tmp_path, str(run.path), {"mmlu": (1, 0.5)})
    evaluated.changes["model"] = "its digest was … for this run and is … now"
    _, found = standing.of_runs(Lineage([run, evaluated]))
    assert found.name == "" and "something else is at this path now" in found.reason


def test_a_training_run_stands_for_its_mixture_after_its_data_has_moved(tmp_path):
    trained = training(tmp_path, "teacher_stage2", "bloom-7b1")
    (tmp_path / "all").mkdir()
    moved = (tmp_path / "data").rename(tmp_path / "all" / "teacher_stage2")
    assert name_of(trained) == [""]
    digest = files.file_digest(moved / "manifest.json")
    files.write_json(tmp_path / "run" / "inputs.json", {"data": digest})
    mixtures = {"data": {}, "teacher_stage2": {}}
    files.write_json(tmp_path / "all" / "data" / "manifest.json", {"mixture": "teacher_stage1"})
    prepared = record(tmp_path / "all", "prepare", {"sources": []}, {"mixtures": mixtures})
    (own,) = standing.of_runs(Lineage([trained, prepared]))
    assert (own.name, own.manifest["mixture"]) == ("teacher/7b1/stage2", "teacher_stage2")
