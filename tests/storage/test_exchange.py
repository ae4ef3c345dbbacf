"""Files that processes exchange through a folder on a disk or in a bucket."""

import errno
import hashlib
import os
import tempfile
import threading

import pytest

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import exchange, files, objects
from teacherlm_jax.storage.paths import StoragePath


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    """A folder that does not exist yet."""
    if request.param == "disk":
        return StoragePath(tmp_path / "shared")
    return StoragePath(request.getfixturevalue("bucket")) / "shared"


def test_files_that_grow_are_in_the_folder_at_the_end(folder, temporary):
    with exchange.folder_to_write(folder) as here:
        with (here / "rows").open("a") as file:
            file.write("one\n")
        with (here / "rows").open("a") as file:
            file.write("two\n")
    assert files.read_bytes(folder / "rows") == b"one\ntwo\n"
    with exchange.file_to_read(folder / "rows") as path:
        assert path.read_text() == "one\ntwo\n"
    assert [*temporary.iterdir()] == []


def test_nothing_is_uploaded_if_the_files_are_not_complete(bucket, temporary):
    def write_half():
        with exchange.folder_to_write(bucket) as here:
            (here / "rows").write_text("half")
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        write_half()
    assert objects.listing(bucket) == {}
    assert [*temporary.iterdir()] == []


def test_only_files_that_exist_are_found_in_any_folder(folder):
    wanted = [folder / name for name in ("a/0", "a/1", "ab/0")]
    assert exchange.existing(wanted) == set()
    files.write_bytes(folder / "a/1", b"")
    files.write_bytes(folder / "a/2", b"")
    files.write_bytes(folder / "ab/1", b"")
    assert exchange.existing(wanted) == {folder / "a/1"}


@pytest.mark.parametrize(("count", "listings"), [(3, 3), (40, 1)])
def test_many_folders_take_one_listing(bucket, proxy, count, listings):
    wanted = [StoragePath(bucket) / f"work/task-{number}/chunk" for number in range(count)]
    for path in wanted[::2]:
        files.write_bytes(path, b"")
    files.write_bytes(wanted[1].with_name("chunk-of-another"), b"")
    files.write_bytes(StoragePath(bucket) / "workspace/chunk", b"")
    proxy.clear()
    assert exchange.existing(iter(wanted)) == set(wanted[::2])
    assert proxy.counts["list"] == listings and sum(proxy.counts.values()) == listings


def test_files_of_several_stores_are_looked_for_in_each(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "_FEW", 0)
    here, there = StoragePath(tmp_path), StoragePath(bucket)
    files.write_bytes(here / "a/0", b"")
    files.write_bytes(there / "a/0", b"")
    assert exchange.existing(
        [root / name for root in (here, there) for name in ("a/0", "b/0")]
    ) == {
        here / "a/0",
        there / "a/0",
    }


def test_a_folder_is_removed_with_everything_in_it(folder):
    exchange.remove(folder)
    for name in ("a", "b/c", "b/d"):
        files.write_bytes(folder / name, b"")
    files.write_bytes(folder.parent / "shared-by-others", b"")
    exchange.remove(folder)
    assert not files.is_folder(folder)
    assert (folder.parent / "shared-by-others").exists()


def test_files_are_read_in_order_and_prefetched_from_a_bucket(folder):
    paths = [folder / str(number) for number in range(20)]
    for path in paths:
        files.write_bytes(path, path.name.encode())
    read, second = [], threading.Event()

    def content(path):
        read.append(path)
        if path == paths[1]:
            second.set()
        return files.read_bytes(path)

    contents = exchange.read_each(content, paths)
    assert next(contents) == b"0"
    ahead = str(folder).startswith("gs://")
    assert second.wait(10 if ahead else 0) == ahead and len(read) < 10
    assert [*contents] == [path.name.encode() for path in paths[1:]]
    assert len(read) == 20


def test_a_missing_file_is_named(folder):
    with pytest.raises(UserError, match=f"{folder}/gone: no such file"):
        files.read_bytes(folder / "gone")


def test_a_file_that_is_fetched_appears_once_its_digest_is_checked(bucket, tmp_path):
    objects.put(f"{bucket}/rows", b"content")
    target, digest = tmp_path / "rows", f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    exchange.fetch(f"{bucket}/rows", target, digest, remedy="write it again")
    assert target.read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows"]


@pytest.mark.parametrize("kind", ["digest", "missing", "disk"])
def test_a_file_that_cannot_be_fetched_leaves_the_old_one(bucket, tmp_path, monkeypatch, kind):
    objects.put(f"{bucket}/rows", b"other")
    target, address = tmp_path / "rows", f"{bucket}/{'none' if kind == 'missing' else 'rows'}"
    target.write_bytes(b"old")
    if kind == "disk":

        def download(address, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(objects, "download", download)
    messages = {
        "digest": f"{address}: digest is sha256:.*, expected sha256:0; write it again",
        "missing": f"{address}: cannot be read: no such bucket or object",
        "disk": f"No space left on device: '{target}'",
    }
    with pytest.raises((UserError, StoreError, OSError), match=messages[kind]):
        exchange.fetch(address, target, "sha256:0", remedy="write it again")
    assert [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()] == [b"old"]
