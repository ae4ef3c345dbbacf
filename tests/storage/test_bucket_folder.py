"""A folder in a bucket that is complete or says that it is not."""

import contextlib
import functools
import multiprocessing
import os
import signal

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files, folder_lock, objects
from teacherlm_jax.storage.atomic_folder import refuse_partial, whole_or_nothing
from teacherlm_jax.storage.folder_lock import acquire


def write_then(address, action):
    with whole_or_nothing(address) as folder:
        files.write_text(folder.path / "weights", "half")
        action()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ZeroDivisionError


def test_a_folder_is_marked_until_it_is_complete_and_has_its_files_alone(bucket):
    with whole_or_nothing(f"{bucket}/out") as folder:
        files.write_text(folder.path / "file", "whole")
        with pytest.raises(UserError, match=f"{bucket}/out: is not complete; wait until"):
            refuse_partial(f"{bucket}/out")
    refuse_partial(f"{bucket}/out")
    assert list(objects.listing(bucket)) == ["out/file"]


def test_a_block_that_fails_leaves_nothing(bucket):
    with pytest.raises(ZeroDivisionError):
        write_then(f"{bucket}/out", fail)
    assert not objects.listing(bucket)


def test_leftovers_of_a_killed_process_are_refused_to_readers_and_removed_by_the_next(bucket):
    process = multiprocessing.get_context("spawn").Process(
        target=write_then, args=(f"{bucket}/out", kill)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert "out/weights" in objects.listing(bucket)
    with pytest.raises(UserError, match="is not complete"):
        refuse_partial(f"{bucket}/out")
    with whole_or_nothing(f"{bucket}/out") as folder:
        assert "out/weights" not in objects.listing(bucket)
        files.write_text(folder.path / "file", "whole")
    assert list(objects.listing(bucket)) == ["out/file"]


@pytest.mark.parametrize("action", [lambda: None, fail])
def test_a_lock_that_cannot_be_removed_changes_nothing_about_how_the_block_ended(
    bucket, proxy, monkeypatch, action
):
    monkeypatch.setattr(objects, "PATIENCE", 0.05)
    proxy.fail(503, "remove", path=r"\.lock")
    lines, ends = (
        [],
        contextlib.nullcontext() if action != fail else pytest.raises(ZeroDivisionError),
    )
    with ends, whole_or_nothing(bucket, lines.append) as folder:
        files.write_text(folder.path / "file", "whole")
        action()
    (line,) = lines
    assert line.startswith(f"{bucket}: the lock was not released and expires in 60 s: {bucket}/.l")
    assert "repeat the command" not in line
    assert set(objects.listing(bucket)) == {".lock/1"} | ({"file"} if action != fail else set())


@pytest.mark.parametrize("name", ["file", "deep/file", ".lock/1"])
def test_a_folder_that_is_not_empty_is_refused_and_unchanged(bucket, name):
    """A run folder has a lock, too, and is never taken for an unfinished folder."""
    held = acquire(f"{bucket}/.lock")
    held.release()
    objects.put(f"{bucket}/config.json", b"existing")
    objects.put(f"{bucket}/{name}", objects.read(f"{bucket}/{name}") or b"existing")
    before = objects.listing(bucket)
    with pytest.raises(UserError, match=f"{bucket}: already exists"), whole_or_nothing(bucket):
        pytest.fail("the block was entered")
    assert objects.listing(bucket) == before
    assert objects.read(f"{bucket}/config.json") == b"existing"


def test_folders_in_an_incomplete_folder_are_never_removed(bucket):
    objects.put(f"{bucket}/.partial", b"left by a killed process")
    objects.put(f"{bucket}/other/model", b"existing")
    with pytest.raises(UserError, match=f"{bucket}: already exists"):
        write_then(bucket, fail)
    assert objects.read(f"{bucket}/other/model") == b"existing"


def test_two_processes_cannot_write_one_folder(bucket):
    with whole_or_nothing(bucket) as folder:
        files.write_text(folder.path / "file", "first")
        with pytest.raises(UserError, match="already exists|another process"):
            write_then(bucket, fail)
        assert objects.read(f"{bucket}/file") == b"first"
    assert list(objects.listing(bucket)) == ["file"]


@pytest.mark.parametrize("finished", [False, True])
def test_a_process_that_lost_the_folder_touches_nothing_of_the_next_one(
    bucket, monkeypatch, finished
):
    """The next process may be at work, or done, which removes its lock."""
    always_renewed = functools.partial(acquire, stale=0)
    monkeypatch.setattr(folder_lock, "acquire", always_renewed)

    def lose():
        if not finished:
            objects.put(f"{bucket}/.lock/2", objects.read(f"{bucket}/.lock/1"))
        objects.remove(f"{bucket}/.lock/1")
        objects.put(f"{bucket}/weights", b"of the other")

    with pytest.raises(UserError, match="another process has taken over this folder"):
        write_then(bucket, lose)
    assert objects.read(f"{bucket}/weights") == b"of the other"
    assert (objects.read(f"{bucket}/.lock/2") is None) == finished
    assert objects.read(f"{bucket}/.lock/1") is None


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_named():
    with pytest.raises(UserError, match="there is no bucket gs://absent"):
        write_then("gs://absent/out", fail)
