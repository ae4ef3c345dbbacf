"""Rows that grow in a file on a disk, or in an object that is uploaded whole."""

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.published_rows import PublishedRows


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_rows_on_a_disk_are_there_at_once(tmp_path, scratch):
    rows = PublishedRows(tmp_path / "a", [1], scratch)
    rows.add(2)
    assert (tmp_path / "a").read_text() == "1\n2\n"
    rows.close()
    assert not any(path.is_file() for path in scratch.rglob("*"))


def test_rows_in_a_bucket_are_there_when_they_are_published(bucket, scratch):
    path = f"{bucket}/texts/a"
    rows = PublishedRows(path, [1], scratch)
    rows.add(2)
    assert not files.exists(path)
    rows.publish()
    assert files.read_bytes(path) == b"1\n2\n"
    rows.add(3)
    rows.close()
    assert files.read_bytes(path) == b"1\n2\n3\n"
    assert not any(path.is_file() for path in scratch.rglob("*"))


def test_removed_rows_leave_no_object_and_no_file(bucket, scratch):
    path = f"{bucket}/texts/a"
    rows = PublishedRows(path, [1], scratch)
    rows.publish()
    rows.remove()
    rows.publish()
    assert not files.exists(path)
    assert not any(path.is_file() for path in scratch.rglob("*"))
