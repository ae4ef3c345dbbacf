"""Names and sizes of a job's files, which other processes rename and remove meanwhile."""

from teacherlm_jax.annotation.job.job_files import JobFolder
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
