"""Copies of data from a bucket within a size limit."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from teacherlm_jax.storage.local_cache import NoRoomError, held

LIMIT = 1000


def put(root, name, size, *, limit=LIMIT, say=print):
    """Return a block that holds a dataset of one file of `size` bytes."""
    return held(
        root, name, size=size, limit=limit, fill=lambda folder: write(folder, size), say=say
    )


def write(folder, size):
    """Copy a dataset of one file, and return that its content is checked."""
    (folder / "rows").write_bytes(b"x" * size)
    return True


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


def test_nothing_is_removed_if_that_would_not_be_enough(tmp_path):
    with put(tmp_path, "a", 300):
        pass
    with put(tmp_path, "b", 600), pytest.raises(NoRoomError), put(tmp_path, "c", 500):
        pass
    assert names(tmp_path) == ["a", "b"]


def test_a_twentieth_of_the_disk_stays_free(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 110, "total": 2000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(NoRoomError, match="and 9.31e-08 GiB stay free"), put(tmp_path, "a", 11):
        pass
    with put(tmp_path, "b", 10):
        usage.free = 0
        with put(tmp_path, "b", 10):  # needs no room
            pass


def test_what_is_still_copied_counts_for_the_limit_and_the_disk(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1100, "total": 2000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    def fill(folder):
        with pytest.raises(NoRoomError, match="in use have 5.59e-07"), put(tmp_path, "b", 600):
            pass
        with pytest.raises(NoRoomError, match="5.59e-07 GiB are for other copies"):
            put(tmp_path, "b", 600, limit=10_000).__enter__()
        return write(folder, 600)

    with held(tmp_path, "a", size=600, limit=LIMIT, fill=fill, say=print):
        assert names(tmp_path) == ["a"]


def test_a_process_waits_for_another_that_removes_a_dataset(tmp_path, monkeypatch):
    with put(tmp_path, "old", 600):
        pass
    removing = threading.Event()

    def slow(*args, **kwargs):
        removing.set()
        time.sleep(0.3)  # for the other thread to look at "old"
        rmtree(*args, **kwargs)

    def use(name):
        with put(tmp_path, name, 450):
            both.wait()

    rmtree, both = shutil.rmtree, threading.Barrier(2, timeout=60)
    monkeypatch.setattr("shutil.rmtree", slow)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(use, "a")
        assert removing.wait(60)
        second = threads.submit(use, "b")
        first.result(), second.result()
    assert names(tmp_path) == ["a", "b"]


def test_files_that_vanish_while_sizes_are_summed_do_not_matter(tmp_path):
    with put(tmp_path, "a", 600) as folder:
        (folder / "renamed").symlink_to("nothing")
        with pytest.raises(NoRoomError, match="in use have 5.59e-07"), put(tmp_path, "b", 500):
            pass
        with put(tmp_path, "b", 400):
            assert names(tmp_path) == ["a", "b"]


def test_a_copy_that_the_disk_refuses_is_removed(tmp_path):
    def fill(folder):
        write(folder, 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    said = []
    with pytest.raises(OSError, match="No space left"):
        held(tmp_path, "a", size=20, limit=LIMIT, fill=fill, say=said.append).__enter__()
    assert names(tmp_path) == []
    assert said == [f"{tmp_path / 'a'}: removed from the cache because it cannot be completed"]


def test_a_file_system_without_locks_is_refused_and_removes_nothing(tmp_path, monkeypatch):
    with put(tmp_path, "a", 600):
        pass

    def flock(file, mode):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="No locks available: '.*copy'"):
        put(tmp_path, "b", 600).__enter__()
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(("is_checked", "copies"), [(True, 1), (False, 2)])
def test_a_second_user_waits_for_the_copy_and_trusts_a_complete_check(tmp_path, is_checked, copies):
    began, go_on, filled, said = threading.Event(), threading.Event(), [], []

    def fill(folder):
        filled.append(1)
        began.set()
        assert go_on.wait(60)
        return write(folder, 10) and is_checked

    def use(hear):
        with held(tmp_path, "a", size=10, limit=LIMIT, fill=fill, say=hear) as folder:
            assert (folder / "rows").stat().st_size == 10

    def hear(line):
        said.append(line)
        go_on.set()

    with ThreadPoolExecutor() as threads:
        first = threads.submit(use, said.append)
        assert began.wait(60)
        use(hear)
        first.result()
    assert len(filled) == copies
    assert said == [f"{tmp_path / 'a'}: waiting for another process that copies this dataset"]
    use(print)
    assert len(filled) == copies + 1  # a later process checks again


def test_a_copy_that_is_removed_while_a_process_waits_for_it_is_not_trusted(tmp_path):
    began, go_on, filled = threading.Event(), threading.Event(), []

    def fill(folder):
        filled.append(1)
        began.set()
        assert go_on.wait(60)
        return write(folder, 10)

    def use(hear):
        with held(tmp_path, "a", size=10, limit=LIMIT, fill=fill, say=hear) as folder:
            assert (folder / "rows").stat().st_size == 10

    def hear(line):
        """Let the first process end and another one remove the copy, before this one has it."""
        if "waiting" in line:
            go_on.set()
            first.result()
            with put(tmp_path, "b", LIMIT):
                assert names(tmp_path) == ["b"]

    with ThreadPoolExecutor() as threads:
        first = threads.submit(use, print)
        assert began.wait(60)
        use(hear)
    assert len(filled) == 2


def test_a_killed_process_reserves_no_room(tmp_path):
    code = f"""
import os, pathlib
from teacherlm_jax.storage.local_cache import held
def fill(folder):
    (folder / "rows").write_bytes(b"x" * 300)
    os.kill(os.getpid(), 9)
with held(pathlib.Path({str(tmp_path)!r}), "a", size=600, limit={LIMIT}, fill=fill, say=print):
    pass
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with put(tmp_path, "b", 700):
        assert names(tmp_path) == ["a", "b"]
    with put(tmp_path, "b", 800):
        assert names(tmp_path) == ["b"]
