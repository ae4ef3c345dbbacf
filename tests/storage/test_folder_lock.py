"""Locks of folders, on a file system and in a bucket."""

import errno
import fcntl
import json
import shutil
import subprocess
import sys
import threading
import time
import types

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import folder_lock, holders, object_lock, objects

BEAT, STALE = 0.05, 1.0


@pytest.fixture(params=["disk", "bucket"])
def lock(request, tmp_path):
    """Address of a lock that nobody holds."""
    folder = tmp_path if request.param == "disk" else request.getfixturevalue("bucket")
    return f"{folder}/.lock"


def acquire(lock, **options):
    return folder_lock.acquire(lock, **{"beat": BEAT, "stale": STALE} | options)


def test_a_second_holder_is_refused_with_the_name_of_the_first(lock):
    held = acquire(lock)
    with pytest.raises(
        UserError, match=r"another process \(.*, process \d+.*\) is using this folder"
    ):
        acquire(lock)
    held.check()
    held.release()


def test_a_lock_that_was_released_is_free_at_once(lock):
    for _ in range(3):
        acquire(lock, stale=1000).release()


def test_a_live_holder_is_never_taken_over(bucket):
    held = acquire(f"{bucket}/.lock")
    time.sleep(2 * STALE)
    with pytest.raises(UserError, match="is using this folder"):
        acquire(f"{bucket}/.lock")
    held.check()
    held.release()


def abandon(bucket, number=3, machine="another boot"):
    """Leave a lock behind as a killed process of a machine does."""
    process = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, check=True)
    holder = {"holder": "host, process 1", "process": int(process.stdout), "machine": machine}
    content = {**holder, "token": "abc", "heartbeat": 7, "free": False}
    objects.put(f"{bucket}/.lock/{number}", json.dumps(content).encode())


def test_a_lock_without_a_heartbeat_is_taken_over(bucket):
    abandon(bucket)
    said = []
    acquire(f"{bucket}/.lock", say=said.append).release()
    assert said == [f"{bucket}: locked by host, process 1; waiting up to 1 s for its heartbeat"]
    assert list(objects.listing(f"{bucket}/.lock")) == ["4"]


def test_a_lock_of_a_process_of_this_host_that_is_gone_is_taken_over_without_a_wait(bucket):
    code = (
        "import os, sys; from teacherlm_jax.storage import folder_lock\n"
        "folder_lock.acquire(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, f"{bucket}/.lock"], check=False)
    assert list(objects.listing(f"{bucket}/.lock")) == ["1"]
    acquire(f"{bucket}/.lock", stale=1000).release()


def test_a_process_number_of_another_boot_or_namespace_says_nothing(bucket):
    """Machines and containers with one host name have their own process numbers."""
    abandon(bucket, machine="another boot")
    began = time.monotonic()
    acquire(f"{bucket}/.lock").release()
    assert time.monotonic() - began > STALE
    abandon(bucket, number=9, machine=holders.machine())
    acquire(f"{bucket}/.lock", stale=1000).release()


def test_of_several_that_take_over_one_wins(bucket):
    abandon(bucket)
    results = []

    def claim():
        try:
            results.append(acquire(f"{bucket}/.lock"))
        except UserError as error:
            results.append(str(error))

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [result for result in results if isinstance(result, str)]
    (winner,) = (result for result in results if not isinstance(result, str))
    assert len(refused) == 5
    assert all("is using this folder" in message for message in refused)
    winner.release()


def test_a_holder_that_was_paused_too_long_notices_that_it_lost_the_lock(bucket):
    lost = acquire(f"{bucket}/.lock", beat=1000, stale=0)  # it renews the lock when it is checked
    lost.check()
    abandon(bucket, number=2)
    with pytest.raises(UserError, match=f"{bucket}: another process has taken over this folder"):
        lost.check()
    lost.release()
    assert b"another boot" in objects.read(f"{bucket}/.lock/2")
    assert not json.loads(objects.read(f"{bucket}/.lock/1"))["free"]


def test_a_holder_that_was_paused_does_not_take_a_new_lock_with_its_number_for_its_own(bucket):
    lock = f"{bucket}/.lock"
    paused, second = (acquire(lock, beat=1000, stale=0) for _ in range(2))
    second.release(remove=True)
    third = acquire(lock, beat=1000, stale=0)
    assert list(objects.listing(lock)) == ["1"]  # as the first one had
    with pytest.raises(UserError, match="another process has taken over this folder"):
        paused.check()
    paused.release()
    third.check()
    third.release()


def test_a_release_leaves_the_lock_of_a_successor_alone(bucket):
    lock = f"{bucket}/.lock"
    paused, second = (acquire(lock, beat=1000, stale=0) for _ in range(2))
    second.release(remove=True)
    third = acquire(lock, beat=1000, stale=0)
    paused.release(remove=True)
    third.check()
    third.release()


@pytest.mark.parametrize("remove", [True, False])
def test_a_lock_that_is_released_while_another_process_waits_is_free(bucket, remove):
    lock = f"{bucket}/.lock"
    held = acquire(lock, beat=1000)
    acquire(lock, stale=30, say=lambda line: held.release(remove=remove)).release()
    assert list(objects.listing(lock)) == (["1"] if remove else ["2"])


@pytest.fixture
def around_the_next_write(monkeypatch):
    """Function that runs `work` in place of the next heartbeat, with a function that writes it."""

    def install(work):
        replace_version = objects.replace_version

        def once(path, content, generation):
            monkeypatch.setattr(objects, "replace_version", replace_version)
            return work(lambda: replace_version(path, content, generation))

        monkeypatch.setattr(objects, "replace_version", once)

    return install


def test_a_late_heartbeat_does_not_hide_a_takeover(bucket, around_the_next_write):
    lock, successors = f"{bucket}/.lock", []
    late = acquire(lock, beat=1000, stale=0)

    def work(write):
        """Write when another process has taken over and removed the lock of the first."""
        successors.append(acquire(lock, beat=1000, stale=0))
        assert list(objects.listing(lock)) == ["2"]
        return write()

    around_the_next_write(work)
    with pytest.raises(UserError, match="another process has taken over this folder"):
        late.check()
    assert list(objects.listing(lock)) == ["2"]  # the heartbeat created no object
    successors[0].check()
    successors[0].release()


def test_a_late_heartbeat_does_not_replace_a_new_lock_with_its_number(
    bucket, around_the_next_write
):
    """The lock was taken over, removed and begun again in the meantime."""
    lock, successors = f"{bucket}/.lock", []
    late = acquire(lock, beat=1000, stale=0)

    def work(write):
        acquire(lock, beat=1000, stale=0).release(remove=True)
        successors.append(acquire(lock, beat=1000, stale=1000))
        before = objects.read(f"{lock}/1")
        assert not write()
        assert objects.read(f"{lock}/1") == before
        return False

    around_the_next_write(work)
    with pytest.raises(UserError, match="another process has taken over this folder"):
        late.check()
    successors[0].check()
    successors[0].release()


@pytest.mark.parametrize("answer", ["lost", "late"])
def test_a_heartbeat_of_its_own_does_not_make_a_holder_lose_the_lock(
    bucket, around_the_next_write, answer
):
    """A write that failed may have been done: its answer was lost, or it arrives later."""
    held = acquire(f"{bucket}/.lock", beat=1000, stale=0)

    def work(write):
        assert write()
        return write() if answer == "lost" else False

    around_the_next_write(work)
    held.check()
    held.check()
    held.release()


def test_two_heartbeats_of_a_holder_do_not_refuse_each_other(bucket):
    held = acquire(f"{bucket}/.lock", beat=0.001, stale=0)
    for _ in range(30):
        held.check()
    held.release()


def test_a_heartbeat_counts_from_before_it_was_written(bucket, monkeypatch, around_the_next_write):
    """Another process may have read the store just before the write arrived."""
    written, clock = [], [0.0]
    monkeypatch.setattr(
        object_lock, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=time.sleep)
    )
    held = acquire(f"{bucket}/.lock", beat=1000, stale=60)

    def slow(write):
        clock[0] += 40
        written.append(clock[0])
        return write()

    clock[0] = 40.0
    for _ in range(2):
        around_the_next_write(slow)
        held.check()
    assert written == [80.0, 120.0]
    held.release()


def test_a_heartbeat_outlives_a_store_that_fails_for_a_while(bucket, monkeypatch):
    said, replace, failing = [], objects.replace_version, [True]

    def fail(path, content, generation):
        if failing:
            raise RuntimeError("the client is confused")
        return replace(path, content, generation)

    held = acquire(f"{bucket}/.lock", say=said.append)
    monkeypatch.setattr(objects, "replace_version", fail)
    await_(lambda: said)
    assert said[0] == f"{bucket}: the lock cannot be renewed: the client is confused"
    failing.clear()
    before = objects.read(f"{bucket}/.lock/1")
    await_(lambda: objects.read(f"{bucket}/.lock/1") != before)
    held.release()


def await_(happened):
    """Wait for something to happen."""
    end = time.monotonic() + 30
    while not happened() and time.monotonic() < end:
        time.sleep(0.02)
    assert happened()


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    said = []
    acquire(f"{tmp_path}/.lock", say=said.append).release()
    assert said[0].startswith(f"{tmp_path}: this file system has no locks")


def test_a_lock_that_links_to_nothing_is_an_error_and_no_endless_loop(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "none" / ".lock")
    with pytest.raises(FileNotFoundError):
        acquire(f"{tmp_path}/.lock")


def copy_of(lock, folder):
    """Copy the objects of a lock in a bucket to a folder, and return the address of the copy."""
    for name in objects.listing(lock):
        (folder / ".lock").mkdir(exist_ok=True)
        objects.download(f"{lock}/{name}", folder / ".lock" / name)
    return folder / ".lock"


def test_a_lock_that_was_free_when_its_folder_was_copied_from_a_bucket_is_free(bucket, tmp_path):
    for _ in range(11):
        acquire(f"{bucket}/.lock").release()
    objects.put(f"{bucket}/.lock/9", b'{"free": false}')  # not the newest
    copy = copy_of(f"{bucket}/.lock", tmp_path)
    held = acquire(copy)
    assert copy.is_file()
    held.release()


@pytest.mark.parametrize("content", ["whole", "incomplete"])
def test_a_lock_that_was_held_when_its_folder_was_copied_names_the_folder_to_remove(
    bucket, tmp_path, content
):
    held = acquire(f"{bucket}/.lock")
    copy = copy_of(f"{bucket}/.lock", tmp_path)
    held.release()
    if content == "incomplete":
        (copy / "1").write_bytes(b'{"hol')
    holder = r" by .+, process \d+" if content == "whole" else ""
    with pytest.raises(UserError, match=rf"this lock was held{holder} when .*remove {copy}$"):
        acquire(copy)
    shutil.rmtree(copy)
    acquire(copy).release()
