"""Copies of data from a bucket within a size limit."""

import os
import subprocess
import sys
import threading

import pytest

from teacherlm_jax.storage.local_cache import NoRoomError, held

LIMIT = 1000


def put(root, name, size, *, limit=LIMIT, say=print):
    """Return a block that holds a dataset of one file of `size` bytes."""
    return held(root, name, size, limit, lambda folder: write(folder, size), say)


def write(folder, size):
    (folder / "rows").write_bytes(b"x" * size)


def names(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_the_least_recently_used_datasets_are_removed_first(tmp_path):
    said = []
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        with put(tmp_path, name, 300) as folder:
            pass
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    with put(tmp_path, "a", 300):  # now the last one used
        pass
    with put(tmp_path, "d", 400, say=said.append) as folder:
        assert (folder / "rows").stat().st_size == 400
    assert names(tmp_path) == ["a", "c", "d"]
    assert said == [f"{tmp_path / 'b'}: removed from the cache to make room for another dataset"]


def test_a_dataset_in_use_is_not_removed(tmp_path):
    with put(tmp_path, "a", 600) as folder:
        with (
            pytest.raises(NoRoomError, match=r"others that are in use have 5.59e-07 GiB"),
            put(tmp_path, "b", 600),
        ):
            pass
        assert (folder / "rows").exists()
    with put(tmp_path, "b", 600):
        assert names(tmp_path) == ["b"]


def test_a_dataset_above_the_limit_is_refused_and_removes_nothing(tmp_path):
    with put(tmp_path, "a", 600):
        pass
    with pytest.raises(NoRoomError, match="the dataset has"), put(tmp_path, "b", LIMIT + 1):
        pass
    assert names(tmp_path) == ["a"]


def test_a_disk_without_room_is_refused(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(NoRoomError, match="the disk has"), put(tmp_path, "a", 11):
        pass
    with put(tmp_path, "b", 10):
        pass


def test_a_second_user_waits_for_the_copy_and_does_not_copy_again(tmp_path):
    began, go_on, copies, said = threading.Event(), threading.Event(), [], []

    def fill(folder):
        if not (folder / "rows").exists():
            copies.append(1)
            began.set()
            assert go_on.wait(60)
            write(folder, 10)

    def use():
        with held(tmp_path, "a", 10, LIMIT, fill, said.append) as folder:
            assert (folder / "rows").stat().st_size == 10

    def hear(line):
        said.append(line)
        go_on.set()

    first = threading.Thread(target=use)
    first.start()
    assert began.wait(60)
    with held(tmp_path, "a", 10, LIMIT, fill, hear):
        pass
    first.join()
    assert len(copies) == 1
    assert said == [f"{tmp_path / 'a'}: waiting for another process that copies this dataset"]


def test_a_killed_process_does_not_keep_a_dataset(tmp_path):
    code = f"""
import os, pathlib
from teacherlm_jax.storage.local_cache import held
with held(pathlib.Path({str(tmp_path)!r}), "a", 600, {LIMIT}, lambda folder: None, print):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with put(tmp_path, "b", 600):
        assert names(tmp_path) == ["a", "b"]
    write(tmp_path / "a", 600)
    with put(tmp_path, "b", 600):
        assert names(tmp_path) == ["b"]
