"""The holder of a lock, read without taking it."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files, folder_lock, holders, lock_holder, objects
from teacherlm_jax.storage.lock_holder import Holder, of_heartbeat, read_holder

CODE = (
    "import os, sys; from teacherlm_jax.storage import folder_lock\n"
    "folder_lock.acquire(sys.argv[1]); os.kill(os.getpid(), 9)"
)


@pytest.fixture(params=["disk", "bucket"])
def lock(request, tmp_path):
    folder = tmp_path if request.param == "disk" else request.getfixturevalue("bucket")
    return f"{folder}/.lock"


def test_a_lock_that_nobody_took_has_no_holder(lock):
    assert read_holder(lock) is None


def test_a_held_lock_names_its_live_holder_and_stays_held(lock):
    held = folder_lock.acquire(lock, beat=0.05)
    holder = read_holder(lock)
    assert holder.name == f"{socket.gethostname()}, process {os.getpid()}"
    assert holder.alive and holder.age < 5
    held.check()
    with pytest.raises(UserError, match=rf"another process \({holder.name}\) is using"):
        folder_lock.acquire(lock, beat=0.05, stale=1.0)
    held.release()
    assert read_holder(lock) is None


@pytest.mark.parametrize("remove", [False, True])
def test_a_lock_that_is_released_while_it_is_read_has_no_holder(tmp_path, monkeypatch, remove):
    held, listed = folder_lock.acquire(tmp_path / ".lock"), lock_holder.list_entries

    def released_since(folder):
        entries = listed(folder)
        held.release(remove=remove)
        return entries

    monkeypatch.setattr(lock_holder, "list_entries", released_since)
    assert read_holder(tmp_path / ".lock") is None


def test_the_holder_of_a_file_renews_its_time(tmp_path):
    lock = tmp_path / ".lock"
    held = folder_lock.acquire(lock, beat=0.02)
    os.utime(lock, (0, 0))
    end = time.monotonic() + 20
    while read_holder(lock).age > 1000:
        assert time.monotonic() < end, "the heartbeat did not come"
        time.sleep(0.02)
    held.release()


def test_a_killed_holder_of_this_machine_is_known_to_be_gone_at_once(lock):
    subprocess.run([sys.executable, "-c", CODE, lock], check=False)
    holder = read_holder(lock)
    assert not holder.alive and holder.age < 30


@pytest.mark.parametrize(("age", "alive"), [(30, True), (90, False)])
def test_a_holder_on_another_machine_is_alive_while_its_heartbeat_is_fresh(tmp_path, age, alive):
    lock = tmp_path / ".lock"
    lock.write_text("other-host, process 7\nanother boot")
    os.utime(lock, (time.time() - age,) * 2)
    holder = read_holder(lock)
    assert (holder.name, holder.alive) == ("other-host, process 7", alive)


def test_a_stale_heartbeat_in_a_bucket_means_that_its_holder_is_gone(bucket):
    content = {"holder": "other, process 1", "process": 1, "machine": "another", "free": False}
    objects.put(f"{bucket}/.lock/3", json.dumps({**content, "token": "a", "time": 5.0}).encode())
    fresh, old = read_holder(f"{bucket}/.lock"), read_holder(f"{bucket}/.lock", skew=-90.0)
    assert fresh.alive and fresh.clock == 5.0
    assert not old.alive and old.age > 60


def test_a_copied_lock_of_a_bucket_has_no_live_holder(tmp_path):
    content = {**holders.description(), "token": "a", "free": False}
    files.write_json(tmp_path / ".lock/2", content)
    assert not read_holder(tmp_path / ".lock").alive


@pytest.mark.parametrize("text", ["nonsense", "x\ny"])
def test_a_damaged_lock_is_named(tmp_path, text):
    (tmp_path / ".lock").write_text(text)
    with pytest.raises(UserError, match=r"\.lock: expected a host and a process, got"):
        read_holder(tmp_path / ".lock")


def test_an_object_that_is_no_heartbeat_is_named(bucket):
    objects.put(f"{bucket}/.lock/1", b"{}")
    with pytest.raises(UserError, match=r"/\.lock/1: not a heartbeat, whose holder is of type str"):
        read_holder(f"{bucket}/.lock")


@pytest.mark.parametrize("content", [[], "x", {"holder": "a", "process": "x", "machine": "b"}])
def test_a_heartbeat_of_another_kind_is_named(content):
    with pytest.raises(UserError, match=r"^w/a\.json: not a heartbeat"):
        of_heartbeat("w/a.json", content, 1.0)


def test_a_process_with_a_number_that_no_process_has_is_gone():
    beat = {"holder": "a", "process": 10**30, "machine": holders.machine(), "time": "noon"}
    assert of_heartbeat("w/a.json", beat, 1.0) == Holder("a", 1.0, False, None)
