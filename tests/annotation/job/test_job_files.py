"""Names and sizes of a job's files, which other processes rename and remove meanwhile."""

import pytest

from teacherlm_jax.annotation.endpoint import endpoint_cost
from teacherlm_jax.annotation.job import job_preview
from teacherlm_jax.annotation.job.job_files import JobFolder, JobRecord
from teacherlm_jax.config import EndpointConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def test_a_file_that_is_renamed_while_sizes_are_compared_does_not_end_a_process(
    tmp_path, monkeypatch
):
    folder = JobFolder(StoragePath(tmp_path))
    complete, growing = folder.texts("cot", 0), folder.texts("cot", 1).with_name(".part-1.jsonl.x")
    for path in (complete, growing, folder.samples(0)):
        files.write_bytes(path, b"{}\n")
    for part, size in (("cot", 3), (layout.SAMPLES, 3)):
        files.write_json(folder.counts(part, 0, size), {})
    names = files.names

    def renamed_since(listed):
        found = names(listed)
        if listed == growing.parent:
            files.remove(growing)
        return found

    monkeypatch.setattr(files, "names", renamed_since)
    folder.forget_changed(["cot"])
    assert folder.counted("cot") == folder.counted(layout.SAMPLES) == {0: 3}


def test_figures_that_another_process_adds_meanwhile_are_kept(tmp_path, monkeypatch):
    folder, names = JobFolder(StoragePath(tmp_path)), files.names

    def complete(index):
        files.write_bytes(folder.texts("cot", index), b"{}\n")
        files.write_json(folder.counts("cot", index, 3), {})

    complete(0)

    def completed_since(listed):
        found = names(listed)
        if listed in (folder.texts("cot", 0).parent, folder.counts("cot", 0, 3).parent):
            complete(1)
        return found

    monkeypatch.setattr(files, "names", completed_since)
    folder.forget_changed(["cot"])
    assert folder.counted("cot") == {0: 3, 1: 3}


@pytest.fixture
def completed(tmp_path, monkeypatch):
    """A job of one shard, whose partial file is completed when somebody has listed the folder."""
    folder, names = JobFolder(StoragePath(tmp_path)), files.names
    samples = list(synthetic.generate(3, seed=1))
    files.write_jsonl(folder.shard(0), map(to_row, samples))
    rows = [{"id": sample.id, "prompt_tokens": 5, "new_tokens": 2} for sample in samples]
    complete = folder.texts("cot", 0)
    partial = complete.with_name(f"{complete.name}{files.PARTIAL}")
    files.write_jsonl(partial, rows[:2])

    def completed_since(listed):
        found = names(listed)
        if listed == complete.parent:
            files.write_jsonl(complete, rows)
            files.remove(partial)
        return found

    monkeypatch.setattr(files, "names", completed_since)
    return folder


def test_tokens_of_a_file_that_is_completed_while_they_are_counted_all_count(completed):
    spent = endpoint_cost.spent_on_disk(EndpointConfig(), completed, ["cot"])
    assert (spent.prompt_tokens, spent.new_tokens) == (15, 6)


def test_a_preview_takes_a_shard_that_is_completed_meanwhile_for_complete(completed):
    record = JobRecord(source={}, settings={}, shards=(3,), refused=0, lengths={})
    assert job_preview._on_disk(completed, ["cot"], record, 9) == []


def test_the_rows_of_a_complete_file_do_not_count_twice(tmp_path):
    folder = JobFolder(StoragePath(tmp_path))
    for index, name in enumerate(["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]):
        if index < 2:
            files.write_bytes(folder.texts("cot", index), b"{}\n")
        if index > 0:
            files.write_bytes(folder.texts("cot", index).with_name(f"{name}.partial"), b"{}\n")
    names = [path.name for path in folder.uncounted("cot", {0})]
    assert names == ["part-00001.jsonl", "part-00002.jsonl.partial"]
