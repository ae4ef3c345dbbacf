"""The runs behind a run are found by digest after the folders have moved."""

import shutil

import jax.numpy as jnp
import pytest

from teacherlm_jax.checkpoints.adapter_origin import model_digest
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.errors import StoreError
from teacherlm_jax.report import comparison_tables, comparisons
from teacherlm_jax.report.build import comparison_text
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage, place_in_run
from teacherlm_jax.storage import files
from tests.report.answered import CMF, TEXT, answer, change, seeded


def save(run, value, step=3):
    """Save a checkpoint of one parameter in a run folder; return the digest of its model."""
    checkpoints = Checkpoints(run, keep=2)
    checkpoints.save(step, {"w": jnp.full(2, value)}, None, {})
    checkpoints.wait()
    digest = model_digest(checkpoints.meta(step))
    checkpoints.close()
    return digest


def train(folder, digests=None, **config):
    """Write the records of a finished training run."""
    files.write_json(folder / "config.json", {"verb": "train", "config": {"seed": 0} | config})
    result = {"step": 3, "steps": 3, "tokens": 30, "seconds": 1.0, "loss": 1.0, "parameters": 2}
    result |= {"accuracy": 0.5, "tokens_per_second": 30.0, "checkpoint": ""}
    files.write_json(folder / "result.json", result)
    files.write_json(folder / "inputs.json", {"data": "sha256:data"} | (digests or {}))


def evaluate(folder, model, digest, marks=CMF):
    files.write_json(folder / "config.json", {"verb": "evaluate", "config": {"model": str(model)}})
    measured = {"rows": 200, "accuracy": 0.5, "interval": [0.4, 0.6], "majority": 0.5}
    measured |= {"macro_accuracy": 0.5, "macro_interval": [0.4, 0.6]}
    measured["by_subject"] = {"": {"rows": 200, "accuracy": 0.5}}
    measured |= {"truncated": 0, "refused": 0, "seconds": 1.0}
    result = {"benchmarks": {"generated": measured}, "model": str(model), "step": 3}
    files.write_json(folder / "result.json", result | {"digest": digest})
    answer(folder, marks)


def record(root, name):
    return next(run for run in find_runs(root, None) if run.name == name)


def training_of(root, name):
    training = Lineage(find_runs(root, None)).training_of(record(root, name))
    return training and training.name


def test_a_copied_folder_gives_the_comparisons_of_the_original(runs, tmp_path, monkeypatch):
    for name, marks in (("student_CMF", CMF), ("student_text", TEXT)):
        answer(runs / f"evaluate_{name}", marks)
    for seed in (1, 2, 3):
        seeded(runs, f"long-{seed}", seed, CMF[seed:] + "1" * seed)
        data = files.file_digest(runs / "student_data/student_CMF/manifest.json")
        files.write_json(runs / f"long-{seed}" / "inputs.json", {"data": data})
    for value, name in enumerate(("student_CMF", "student_text", "long-1", "long-2", "long-3")):
        change(runs / f"evaluate_{name}" / "result.json", digest=save(runs / name, float(value)))
    before = comparison_text(runs)
    assert "long-* − student_text" in before and "3, 1" in before
    students = labels_of_students(runs)
    assert any(student for _, student in students)
    copy = tmp_path / "copy"
    shutil.copytree(runs, copy)
    monkeypatch.chdir(tmp_path)
    for is_there in (True, False):
        if not is_there:
            shutil.rmtree(runs)
        assert comparison_text("copy") == before
        assert labels_of_students(copy) == students


def labels_of_students(root):
    """Return the labels of the compared models, and whether each is a student."""
    compared = comparisons.compare(find_runs(root, None), str(root))
    return [(model.label, model.student) for model in compared.sets[0][0].models]


@pytest.mark.parametrize("place", ["", "/checkpoints/3", "/checkpoints/best"])
def test_a_model_is_found_by_the_digest_of_any_checkpoint(tmp_path, place):
    train(tmp_path / "a")
    train(tmp_path / "b")
    save(tmp_path / "a", 1.0)
    digest = save(tmp_path / "b", 2.0)
    evaluate(tmp_path / "evaluate", f"gone/elsewhere{place}", digest)
    assert training_of(tmp_path, "evaluate") == "b"


def test_the_digest_decides_if_another_run_is_at_the_path_now(tmp_path):
    train(tmp_path / "a")
    digest = save(tmp_path / "old", 1.0)
    train(tmp_path / "old", output=str(tmp_path / "a"))
    evaluate(tmp_path / "evaluate", tmp_path / "a", digest)
    runs = find_runs(tmp_path, None)
    save(tmp_path / "a", 2.0)
    evaluation = next(run for run in runs if run.verb == "evaluate")
    assert Lineage(runs).training_of(evaluation).name == "a"  # nothing says that it changed
    evaluation.changes["model"] = "its digest was … for this run and is … now"
    assert Lineage(runs).training_of(evaluation).name == "old"


def test_another_run_at_the_path_now_is_not_the_training_if_no_digest_matches(tmp_path):
    train(tmp_path / "a", output=str(tmp_path / "a"))
    evaluate(tmp_path / "one", tmp_path / "a", "sha256:1")
    evaluate(tmp_path / "two", tmp_path / "a/checkpoints/3", "sha256:2", TEXT)
    runs = find_runs(tmp_path, None)
    for run in runs:
        if run.verb == "evaluate":
            run.changes["model"] = "its digest was … for this run and is … now"

    def reasons():
        return [
            line.removesuffix(", so its seed, tokens, steps and FLOPs are unknown; report a folder "
                              "that contains its training")
            for line in comparisons.compare(runs, str(tmp_path)).unknown_trainings()
        ]  # fmt: skip

    save(tmp_path / "a", 2.0, step=3)
    assert reasons() == [
        f"{name}: the training of config.model={tmp_path}/{model} was not found, neither at this "
        "path nor by digest (something else is at this path now)"
        for name, model in (("one", "a"), ("two", "a/checkpoints/3"))
    ]
    shutil.rmtree(tmp_path / "a/checkpoints/3")
    save(tmp_path / "a", 2.0, step=5)
    ending = "(something else is at this path now; a has no checkpoints/3 any more)"
    assert all(reason.endswith(ending) for reason in reasons())


def test_a_removed_checkpoint_is_found_in_a_moved_run(tmp_path):
    """`checkpoint.keep` removes earlier checkpoints after they were evaluated."""
    train(tmp_path / "a", output="gone/a")
    digest = save(tmp_path / "a", 1.0, step=1)
    evaluate(tmp_path / "evaluate", "gone/a/checkpoints/1", digest)
    change(tmp_path / "evaluate" / "result.json", step=1)
    for step in (2, 3):
        save(tmp_path / "a", float(step), step)
    assert [path.name for path in sorted((tmp_path / "a/checkpoints").iterdir())] == ["2", "3"]
    assert training_of(tmp_path, "evaluate") == "a"
    change(tmp_path / "evaluate" / "result.json", step=2)
    assert training_of(tmp_path, "evaluate") is None  # the checkpoint of step 2 is another model


def test_the_reason_why_a_training_is_not_found_names_removed_checkpoints_and_copies(tmp_path):
    for name in "ab":
        train(tmp_path / name, output="gone/a")
    save(tmp_path / "a", 2.0, step=4)
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")
    runs = find_runs(tmp_path, None)
    assert Lineage(runs).why_not_found(record(tmp_path, "evaluate")) == (
        "the training of config.model=gone/a was not found, neither at this path nor by digest "
        "(config.output of a and b contains it; a has no checkpoints/3 any more; "
        "b has no checkpoints/3 any more)"
    )


def test_a_recorded_output_does_not_count_against_the_digests_of_the_checkpoints(tmp_path):
    train(tmp_path / "a", output="gone/a")
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:other")
    assert training_of(tmp_path, "evaluate") == "a"  # a copy without checkpoints
    save(tmp_path / "a", 1.0)
    assert training_of(tmp_path, "evaluate") is None


def test_of_two_copies_without_checkpoints_none_is_guessed(tmp_path):
    train(tmp_path / "a", output="gone/a")
    train(tmp_path / "b", output="gone/a")
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")
    assert training_of(tmp_path, "evaluate") is None


def test_stages_are_found_by_the_digest_of_their_start(tmp_path):
    for seed in (1, 2):
        train(tmp_path / f"first-{seed}", seed=seed)
        digest = save(tmp_path / f"first-{seed}", float(seed))
        start = {"init_from": digest}
        train(tmp_path / f"second-{seed}", start, seed=seed, init_from="gone/first")
    runs = find_runs(tmp_path, None)
    lineage = Lineage(runs)
    second = [run for run in runs if run.name.startswith("second")]
    assert [lineage.seeds(run) for run in second] == [(1, 1), (2, 2)]
    assert len({lineage.recipe(run) for run in second}) == 1


def test_runs_that_name_each_other_as_their_start_do_not_go_round_for_ever(tmp_path):
    train(tmp_path / "a", seed=1, init_from=str(tmp_path / "b"))
    train(tmp_path / "b", seed=2, init_from=str(tmp_path / "a"))
    assert Lineage(find_runs(tmp_path, None)).seeds(record(tmp_path, "a")) == (1, 2)


def test_a_training_that_did_not_change_its_model_is_not_where_others_started(tmp_path):
    digest = save(tmp_path / "a", 1.0)
    for name in "ab":
        train(tmp_path / name, {"init_from": digest}, init_from="gone/base")
    assert Lineage(find_runs(tmp_path, None)).seeds(record(tmp_path, "b")) == (0,)


def test_a_damaged_checkpoint_does_not_stop_the_report_and_is_named(tmp_path):
    train(tmp_path / "a", output="other")
    digest = save(tmp_path / "a", 1.0)
    for path in (tmp_path / "a" / "checkpoints" / "3" / "meta").iterdir():
        path.write_text("{")
    evaluate(tmp_path / "evaluate", "gone/a", digest)
    lineage = Lineage(find_runs(tmp_path, None))
    assert lineage.training_of(record(tmp_path, "evaluate")) is None
    reason = lineage.why_not_found(record(tmp_path, "evaluate"))
    assert reason.endswith(" nor by digest (a/checkpoints/3 cannot be read)")
    (line,) = lineage.unreadable()
    assert line.startswith(f"a/checkpoints/3: {tmp_path}/a/checkpoints/3: incomplete checkpoint")
    change(tmp_path / "a" / "config.json", config={"output": "gone/a"})
    assert training_of(tmp_path, "evaluate") == "a"  # no digest of this step rules it out


@pytest.mark.parametrize("denied", ["checkpoints", "checkpoints/3"])
def test_a_denied_checkpoint_does_not_stop_the_report_and_is_named(tmp_path, monkeypatch, denied):
    train(tmp_path / "a")
    save(tmp_path / "a", 1.0)
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")

    def refuse(*_):
        raise StoreError("denied") from PermissionError()

    monkeypatch.setattr(Checkpoints, "meta" if denied.endswith("3") else "steps", refuse)
    lineage = Lineage(find_runs(tmp_path, None))
    assert lineage.training_of(record(tmp_path, "evaluate")) is None
    assert lineage.unreadable() == [f"a/{denied}: denied"]


def test_data_is_found_by_the_digest_of_its_manifest(runs):
    inputs = {"data": files.file_digest(runs / "student_data/student_CMF/manifest.json")}
    files.write_json(runs / "stage1" / "inputs.json", inputs)
    config = files.read_json(runs / "stage1" / "config.json")
    config["config"]["data"] = "gone/data"
    files.write_json(runs / "stage1" / "config.json", config)
    lineage = Lineage(find_runs(runs, None))
    assert lineage.is_student(record(runs, "stage1"))
    assert not lineage.is_student(record(runs, "stage2"))
    assert lineage.data_of(record(runs, "stage1")) == runs / "student_data/student_CMF"


def test_data_at_its_recorded_path_is_not_looked_for_elsewhere(runs, tmp_path):
    rows = tmp_path / "rows"
    shutil.copytree(runs / "student_data/student_CMF", rows)
    digest = files.file_digest(rows / "manifest.json")
    files.write_json(runs / "stage1" / "inputs.json", {"data": digest})
    settings = files.read_json(runs / "stage1" / "config.json")["config"]
    change(runs / "stage1" / "config.json", config=settings | {"data": str(rows)})

    def data(changes=None):
        found = find_runs(runs, None)
        training = next(run for run in found if run.name == "stage1")
        training.changes.update(changes or {})
        return Lineage(found).data_of(training)

    assert data() == rows
    shutil.rmtree(rows)
    assert data() == runs / "student_data/student_CMF"
    rows.mkdir()
    (rows / "manifest.json").write_text("{}")
    changed = {"data": "its digest was … for this run and is … now"}
    assert data(changed) == runs / "student_data/student_CMF"
    files.write_json(runs / "stage1" / "inputs.json", {"data": "sha256:other"})
    assert data(changed) is None


def test_the_page_and_the_summary_name_models_whose_training_is_not_found(tmp_path):
    evaluate(tmp_path / "one", "gone/one", "sha256:1")
    evaluate(tmp_path / "two", "gone/two", "sha256:2", TEXT)
    compared = comparisons.compare(find_runs(tmp_path, None), str(tmp_path))
    (notice,) = [block for block in comparison_tables.section(compared)
                 if getattr(block, "title", "") == "Training not found"]  # fmt: skip
    assert [line.partition(" was not found")[0] for line in notice.lines] == [
        "one: the training of config.model=gone/one",
        "two: the training of config.model=gone/two",
    ]
    assert notice.lines[0] in comparison_text(tmp_path)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("runs/a", "."),
        ("runs/checkpoints/a", "."),  # a run folder
        ("checkpoints/best", "checkpoints/best"),
        ("gs://bucket/a/checkpoints/500/", "checkpoints/500"),
    ],
)
def test_the_checkpoint_of_a_model_is_the_end_of_its_path(model, place):
    assert place_in_run(model) == place
