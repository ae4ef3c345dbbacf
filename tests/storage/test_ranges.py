"""Large files on this machine and in a bucket: parts by position, and files written in blocks."""

import gc
import os
import time

import pytest

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import files, objects, ranges
from teacherlm_jax.storage.paths import StoragePath, client

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    """Folder on this machine, or in a bucket."""
    return StoragePath(tmp_path if request.param == "disk" else request.getfixturevalue("bucket"))


def test_parts_of_a_file_are_read_by_position(place):
    files.write_bytes(place / "a", CONTENT)
    size = ranges.size(place / "a")
    assert size == len(CONTENT)
    assert ranges.read(place / "a", 3, 7) == CONTENT[3:7]
    wanted = [(5, 5), (0, 1), (size - 2, size + 9), (size + 1, size + 5), (90_000, 190_000)]
    assert ranges.read_many(place / "a", wanted) == [CONTENT[a:b] for a, b in wanted]
    assert ranges.read_many(place / "a", []) == []


def test_a_missing_file_is_named(place):
    for read in (ranges.size, lambda path: ranges.read(path, 0, 1)):
        with pytest.raises((UserError, StoreError), match=f"{place}/none: .*no such"):
            read(place / "none")


def test_many_parts_of_an_object_are_one_call_of_the_client(bucket, monkeypatch):
    objects.put(f"{bucket}/a", CONTENT)
    calls, cat_ranges = [], client(bucket).cat_ranges
    monkeypatch.setattr(
        client(bucket), "cat_ranges",
        lambda *arguments: calls.append(arguments) or cat_ranges(*arguments),
    )  # fmt: skip
    ranges.read_many(f"{bucket}/a", [(0, 4), (8, 12)])
    assert len(calls) == 1


def test_a_version_changes_with_the_file_and_with_nothing_else(place):
    files.write_bytes(place / "a", b"first")
    before = ranges.version(place / "a")
    ranges.read(place / "a", 0, 5)
    files.write_bytes(place / "b", b"other")
    assert ranges.version(place / "a") == before
    assert before.startswith("5 bytes, ")
    time.sleep(0.01)
    files.write_bytes(place / "a", b"later")
    assert ranges.version(place / "a") != before


def test_the_names_in_a_folder_are_those_of_its_files_and_folders(place):
    assert files.names(place / "absent") == []
    for name in ("b", "c/d", "a"):
        files.write_bytes(place / name, b"")
    assert files.names(place) == ["a", "b", "c"]


@pytest.mark.parametrize("size", [0, 10, 3 << 20, (3 << 20) + 1])
def test_a_new_file_has_the_blocks_that_were_written(place, monkeypatch, size):
    monkeypatch.setattr(objects, "_UPLOAD_BLOCK", 1 << 20)
    content = os.urandom(size)
    file = ranges.new_file(place / "a")
    for start in range(0, size, 700_000):
        file.write(memoryview(content)[start : start + 700_000])
    file.close()
    assert ranges.read(place / "a", 0, size + 1) == content


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_an_object_appears_when_it_is_complete_and_never_if_it_is_discarded(
    bucket, monkeypatch, size
):
    monkeypatch.setattr(objects, "_UPLOAD_BLOCK", 1 << 20)
    objects.put(f"{bucket}/a", b"earlier")
    file = ranges.new_file(f"{bucket}/a")
    file.write(bytes(size))
    assert objects.read(f"{bucket}/a") == b"earlier"
    file.discard()
    del file
    gc.collect()
    assert objects.read(f"{bucket}/a") == b"earlier"


@pytest.mark.usefixtures("bucket")
def test_an_object_that_cannot_be_written_is_named():
    file = ranges.new_file("gs://no-such-bucket/a")
    file.write(b"content")
    with pytest.raises(StoreError, match="gs://no-such-bucket/a: cannot be written"):
        file.close()
    file.discard()
