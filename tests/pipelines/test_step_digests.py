"""Digests of what steps read and write: each change counts, and what a run logs does not."""

import os

from teacherlm_jax.pipelines import step_digests
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def test_a_file_is_compared_by_its_content(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert step_digests.of_path(str(path)) == step_digests.MISSING
    path.write_text("one")
    before = step_digests.of_path(str(path))
    os.utime(path, ns=(1, 1))
    assert step_digests.of_path(str(path)) == before
    path.write_text("two")
    assert step_digests.of_path(str(path)) != before


def test_a_run_is_compared_by_its_result_alone(tmp_path):
    files.write_json(tmp_path / "result.json", {"loss": 1})
    before = step_digests.of_path(str(tmp_path))
    (tmp_path / "log.txt").write_text("later")
    assert step_digests.of_path(str(tmp_path)) == before
    files.write_json(tmp_path / "result.json", {"loss": 2})
    seen = {before, step_digests.of_path(str(tmp_path))}
    files.write_json(tmp_path / "selection.json", {"step": 7})  # chosen by readers
    assert len({*seen, step_digests.of_path(str(tmp_path))}) == 3


def test_a_sweep_is_compared_by_the_results_of_its_points(tmp_path):
    folder = StoragePath(tmp_path)
    (tmp_path / "a").mkdir()
    assert step_digests.of_results(folder) == step_digests.MISSING
    seen = {step_digests.MISSING}
    for name, result in (("a", 1), ("b", 1), ("b", 2)):
        (tmp_path / name).mkdir(exist_ok=True)
        files.write_json(tmp_path / name / "result.json", result)
        seen.add(step_digests.of_results(folder))
    assert len(seen) == 4


def test_another_folder_is_compared_by_names_sizes_and_times_of_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner/rows.jsonl"
    path.write_text("one")
    seen = [step_digests.of_path(str(tmp_path))]
    (tmp_path / ".lock").touch()
    assert step_digests.of_path(str(tmp_path)) == seen[0], "hidden files do not count"
    os.utime(path, ns=(1, 1))
    seen.append(step_digests.of_path(str(tmp_path)))
    path.rename(tmp_path / "inner/other.jsonl")
    seen.append(step_digests.of_path(str(tmp_path)))
    (tmp_path / "more").touch()
    seen.append(step_digests.of_path(str(tmp_path)))
    assert len({*seen}) == 4


def test_a_folder_in_a_bucket_is_compared_by_names_and_sizes(bucket):
    files.write_text(f"{bucket}/data/rows.jsonl", "one")
    seen = [step_digests.of_path(f"{bucket}/data")]
    assert step_digests.of_path(f"{bucket}/data") == seen[0]
    files.write_text(f"{bucket}/data/rows.jsonl", "three")
    seen.append(step_digests.of_path(f"{bucket}/data"))
    files.write_json(f"{bucket}/data/result.json", {})
    seen.append(step_digests.of_path(f"{bucket}/data"))
    seen.append(step_digests.of_path(f"{bucket}/absent"))
    assert len({*seen}) == 4 and seen[-1] == step_digests.MISSING


def test_an_address_on_the_hub_stands_for_itself():
    assert step_digests.of_path("hf://org/model") == "hf://org/model"


def test_a_file_that_a_step_removes_while_its_folder_is_read_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1")
    before, walk = step_digests.of_path(str(tmp_path)), os.walk

    def with_removed_one(folder):
        for parent, folders, names in walk(folder):
            yield parent, folders, [*names, "removed"]

    monkeypatch.setattr(os, "walk", with_removed_one)
    assert step_digests.of_path(str(tmp_path)) == before


def test_a_run_that_is_continued_while_its_result_is_read_has_none(tmp_path, monkeypatch):
    (tmp_path / "result.json").write_text("{}")
    digest = files.file_digest

    def reopened(path):
        files.remove(path)
        return digest(path)

    monkeypatch.setattr(files, "file_digest", reopened)
    assert step_digests.of_results(StoragePath(tmp_path)) == step_digests.MISSING
