"""The status of pipelines, preparations, evaluations and conversions."""

import pytest

from teacherlm_jax import config
from teacherlm_jax.status import status_text
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import RunStatus
from teacherlm_jax.storage import files
from tests.status.made_runs import log_steps, training


def record(folder, verb, settings, **more):
    """Write what every run has, without a lock."""
    files.write_json(f"{folder}/config.json", {"verb": verb, "config": settings})
    files.write_json(f"{folder}/versions.json", {"command": ["teacherlm", verb], "processes": 1})
    for name, content in more.items():
        files.write_json(f"{folder}/{name}.json", content)


@pytest.fixture
def pipeline(root, begin):
    """A pipeline in another place than where it was started: one step done, one at work."""
    steps = [
        {"name": name, "title": f"make {name}", "verb": "train", "output": f"runs/whole/{name}"}
        for name in ("data", "teacher", "sweep", "student")
    ]
    folder = f"{root}/whole"
    record(folder, "pipeline", {"output": "runs/whole", "steps": steps})
    record(f"{folder}/data", "prepare", {"mixtures": [{"name": "a"}]}, result={"mixtures": {}})
    for number in range(2):
        record(f"{folder}/sweep/rate_{number}", "train", {"steps": 5}, result={"step": 5})
    return folder


def test_the_steps_of_a_pipeline_have_states_wherever_it_is(pipeline, begin, status):
    with begin(training(f"{pipeline}/teacher")) as run:
        log_steps(run, 20)
        run.publish()
        seen = status(pipeline)
    assert [(step.name, step.state) for step in seen.steps] == [
        ("data", "finished"),
        ("teacher", "running"),
        ("sweep", "finished"),
        ("student", "waiting"),
    ]
    assert seen.steps[1].detail == "step 20/100, loss 2.500"
    assert seen.steps[2].detail == "2 runs of a sweep: 2 finished"
    text = status_text.block(seen)
    assert "2 of 4 finished" in text and "waiting   student  make student" in text


def test_a_step_that_failed_shows_its_error(pipeline, status):
    record(f"{pipeline}/student", "train", {"steps": 5})
    log = "2026-01-01 10:00:00,000 ERROR UserError: no data; copy it\n"
    files.write_text(f"{pipeline}/student/log.txt", log)
    step = status(pipeline).steps[3]
    assert (step.state, step.detail) == ("failed", "no data; copy it")


def test_a_step_that_was_refused_before_it_had_a_folder_failed(pipeline, status):
    files.write_json(f"{pipeline}/steps.json", {"student": {"failed": 2}})
    step = status(pipeline).steps[3]
    assert (step.state, step.detail) == ("failed", "exit status 2")


def test_a_sweep_of_which_a_point_was_refused_failed(pipeline, status):
    files.write_json(f"{pipeline}/steps.json", {"sweep": {"failed": 2}})
    step = status(pipeline).steps[2]
    assert step.state == "failed"
    assert step.detail == "2 runs of a sweep: 2 finished; exit status 2"


@pytest.mark.parametrize("until", [("--until=data",), ("--until", "data")])
def test_the_next_command_of_a_pipeline_has_no_until(pipeline, status, until):
    words = ["teacherlm", "pipeline", "--config=mine.py", *until, "--retries=2"]
    files.write_json(f"{pipeline}/versions.json", {"command": words, "processes": 1})
    assert status(pipeline).next.command == "teacherlm pipeline --config=mine.py --retries=2"


def test_the_steps_of_a_quickstart_are_named_by_their_variants(tmp_path, status):
    steps = [{"verb": "train", "variant": "stage1,tiny", "title": "t", "output": "q/stage1"}]
    record(tmp_path, "quickstart", {"output": "q", "steps": steps})
    assert status(tmp_path).steps[0].name == "stage1"


def test_star_shows_its_rounds_and_their_runs(root, status):
    folder = f"{root}/star"
    record(folder, "star", {"rounds": 2, "output": "x"})
    for number, names in ((0, ("model", "data", "test")), (1, ("attempts",))):
        for name in names:
            record(f"{folder}/round-{number}/{name}", "train", {"steps": 5}, result={"step": 5})
    figures = {"round": 0, "accuracy": 0.5}
    files.write_json(f"{folder}/round-0/round.json", figures)
    files.write_json(f"{folder}/round-1/round.json", figures | {"round": 1, "kept": 7})
    seen = status(folder)
    assert [step.name for step in seen.steps] == [
        "round-0/data",
        "round-0/model",
        "round-0/test",
        "round-1/attempts",
    ]
    text = status_text.block(seen)
    assert "1 of 2 rounds" in text and "accuracy 50.0%, kept 7" in text


def test_a_preparation_shows_its_mixtures_and_skipped_rows(root, status):
    folder = f"{root}/data"
    record(folder, "prepare", {"mixtures": [{"name": name} for name in "abc"]})
    files.write_json(f"{folder}/a/manifest.json", {"rows": 1200, "tokens": 5000, "texts": 3})
    files.write_text(f"{folder}/b/rows-00000.array_record", "x" * 200_000)
    files.write_text(f"{folder}/refused.jsonl", "{}\n{}\n")
    text = status_text.block(status(folder))
    for line in (
        "1 of 3 mixtures",
        "a           1,200 packed rows, 5,000 tokens",
        "b           being written, 0.2 MB so far",
        "c           not started",
        "2 rows, listed in refused.jsonl",
    ):
        assert line in text


def test_a_check_of_data_is_finished_without_a_result(tmp_path, begin, status):
    settings = config.PrepareConfig(output=str(tmp_path / "data"), check_only=True)
    with begin(settings, "prepare") as run:
        run.log.info("checked")
        files.write_json(run.path / "check.json", {})
    assert status(settings.output).state.name == "finished"


def test_an_evaluation_shows_its_benchmarks(root, status):
    folder = f"{root}/eval"
    benchmarks = [{"name": "creak"}, {"name": "mmlu"}]
    record(folder, "evaluate", {"benchmarks": benchmarks})
    files.write_text(f"{folder}/creak.predictions.jsonl", "{}\n")
    text = status_text.block(status(folder))
    assert "1 of 2 benchmarks" in text and "mmlu        not scored yet" in text
    measured = {"creak": {"accuracy": 0.75}, "mmlu": {"accuracy": None}}
    record(folder, "evaluate", {"benchmarks": benchmarks}, result={"benchmarks": measured})
    assert "creak       accuracy 75.0%" in status_text.block(status(folder))


def test_an_import_shows_its_model(root, status):
    folder = f"{root}/bloomz"
    record(folder, "convert", {"source": "hf://a/b"})
    assert "reading hf://a/b" in status_text.block(status(folder))
    record(folder, "convert", {"source": "hf://a/b"}, result={"parameters": 1000, "bytes": 4000})
    assert "1,000 parameters, 4,000 bytes" in status_text.block(status(folder))


def test_a_verb_that_is_not_known_still_has_a_state(root, status):
    folder = f"{root}/other"
    record(folder, "sing", {"tune": 1}, result={"well": True})
    seen = status(folder)
    assert isinstance(seen, RunStatus) and seen.state.name == "finished" and seen.verb == "sing"


def test_files_that_vanish_while_they_are_read_are_no_fault(tmp_path):
    files.write_text(tmp_path / "log.txt", "a\n")
    files.write_json(tmp_path / "result.json", {})
    run = RunFiles(tmp_path)
    assert run.has("log.txt") and run.has("result.json")
    (tmp_path / "log.txt").unlink()
    (tmp_path / "result.json").unlink()
    assert run.tail("log.txt") == [] and run.json("result.json") == {} and run.faults == []
