"""Files that grow row by row."""

import errno

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.growing import GrowingRows, append_row


def test_rows_are_on_disk_as_soon_as_they_are_added(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    rows = GrowingRows(path)
    rows.add({"a": 1})
    assert [row for _, row in files.read_jsonl(path)] == [{"a": 1}]
    rows.close()
    append_row(path, {"a": 2})
    assert [row["a"] for _, row in files.read_jsonl(path)] == [1, 2]
    GrowingRows(path, replace=True).close()
    assert path.read_text() == ""


def test_half_a_surrogate_pair_can_be_read_back(tmp_path):
    append_row(tmp_path / "rows.jsonl", {"text": "\ud83d"})
    assert [row for _, row in files.read_jsonl(tmp_path / "rows.jsonl")] == [{"text": "\ud83d"}]


def test_an_error_of_writing_names_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        append_row(path, {})
    assert (error.value.filename, error.value.errno) == (str(path), errno.ENOSPC)
