"""The runs behind a run are found by digest after the folders have moved."""

import shutil

import pytest

from teacherlm_jax.report import comparisons
from teacherlm_jax.report.build import comparison_text
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage, place_in_run
from teacherlm_jax.storage import files
from tests.report.answered import CMF, TEXT, answer, change, seeded
from tests.report.trained_runs import record, save, train


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
    compared = comparisons.compare(Lineage(find_runs(root, None)), str(root))
    return [(model.label, model.student) for model in compared.sets[0][0].models]


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


@pytest.mark.parametrize(
    ("pattern", "student"),
    [
        ("annotate/*/samples/*.jsonl", True),
        ("annot*/[!x]*/*/part-*.jsonl", True),
        ("annotate/*/rejected/*.jsonl", False),
        ("annotate/*.jsonl", False),
        ("other/*/samples/*.jsonl", False),
    ],
)
def test_students_of_a_swept_annotation_are_known_by_the_pattern_of_its_samples(
    tmp_path, pattern, student
):
    root = tmp_path / "runs"
    for task in ("first", "second"):
        settings = {"output": str(root / "annotate" / task)}
        path = root / "annotate" / task / "config.json"
        files.write_json(path, {"verb": "annotate", "config": settings})
    settings = {"root": str(root), "sources": [{"path": pattern}], "output": str(root / "data")}
    files.write_json(root / "data/config.json", {"verb": "prepare", "config": settings})
    train(root / "student", data=str(root / "data/student_CMF"))
    assert Lineage(find_runs(root, None)).is_student(record(root, "student")) == student
    moved = root.rename(tmp_path / "moved")
    assert Lineage(find_runs(moved, None)).is_student(record(moved, "student")) == student


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
