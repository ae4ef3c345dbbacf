"""Entries of a folder with size and age, on a disk and in a bucket."""

import os
import time

import pytest

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.entries import list_entries


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    return str(tmp_path) if request.param == "disk" else request.getfixturevalue("bucket")


def test_entries_have_size_age_and_kind_and_nothing_below_them(folder):
    files.write_text(f"{folder}/b.txt", "four")
    files.write_text(f"{folder}/a/inside/deep.txt", "1")
    listed = list_entries(folder)
    assert list(listed) == ["a", "b.txt"]
    assert listed["a"].is_folder and listed["a"].size == 0
    assert not listed["b.txt"].is_folder and listed["b.txt"].size == 4
    assert 0 <= listed["b.txt"].age < 30


def test_a_missing_folder_has_no_entries(folder):
    assert list_entries(f"{folder}/nothing") == {}


def test_the_age_of_a_file_is_the_time_since_its_last_change(tmp_path):
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (time.time() - 500,) * 2)
    assert list_entries(tmp_path)["old"].age == pytest.approx(500, abs=5)


def test_the_age_of_an_object_is_counted_by_the_clock_of_the_bucket(bucket):
    files.write_text(f"{bucket}/a.txt", "1")
    ahead = list_entries(bucket, skew=-1000.0)  # this machine's clock is 1000 s behind
    assert ahead["a.txt"].age == pytest.approx(1000, abs=30)


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(proxy, bucket, tmp_path):
    proxy.fail(403, "list")
    with pytest.raises(StoreError, match="permission denied"):
        list_entries(bucket)


def test_a_link_to_itself_is_an_entry_that_cannot_be_read(tmp_path):
    (tmp_path / "a").symlink_to("a")
    (tmp_path / "gone").symlink_to("nothing")
    assert list(list_entries(tmp_path)) == ["a"]
    with pytest.raises(UserError, match="Too many levels of symbolic links"):
        files.read_bytes(tmp_path / "a")


def test_a_file_has_no_entries(tmp_path):
    (tmp_path / "file").touch()
    assert list_entries(tmp_path / "file") == {}


def test_the_skew_to_a_bucket_is_known_to_about_a_second(proxy, bucket):
    skew, error = objects.clock_skew(bucket)
    assert abs(skew) <= error + 0.5 and error < 5
    proxy.skew = 90.0
    assert objects.clock_skew(bucket)[0] == pytest.approx(-90, abs=error + 1)


def test_a_shorter_patience_holds_only_in_its_block(monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE", 60.0)
    with objects.patience(10.0):
        assert objects.PATIENCE == 10.0
        with pytest.raises(UserError), objects.patience(3.0):
            raise UserError("; nothing")
        assert objects.PATIENCE == 10.0
    assert objects.PATIENCE == 60.0
