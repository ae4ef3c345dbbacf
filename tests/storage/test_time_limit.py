"""Reads from a store that have to end in time."""

import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from teacherlm_jax.errors import StoreError
from teacherlm_jax.storage import objects, time_limit
from teacherlm_jax.storage.time_limit import in_time

FOLDER = "gs://bucket/folder"


@pytest.fixture(autouse=True)
def readers():
    """The threads that wait for work; none at first."""
    time_limit._idle.clear()
    return time_limit._idle


def test_a_file_on_this_machine_is_read_without_a_thread(readers):
    assert in_time("/folder", threading.current_thread) is threading.current_thread()
    assert not readers


def test_reads_that_follow_each_other_share_one_thread(readers):
    threads = {in_time(FOLDER, threading.current_thread) for _ in range(200)}
    assert len(threads) == len(readers) == 1
    assert threads.pop().daemon  # a read that hangs does not keep the process from ending


def test_reads_at_the_same_time_have_a_thread_each(readers):
    together = threading.Barrier(4, timeout=60)
    with ThreadPoolExecutor(4) as callers:
        for _ in range(20):
            list(callers.map(lambda _: in_time(FOLDER, together.wait), range(4)))
    assert len(readers) == 4


def test_a_read_that_hangs_is_refused_and_its_thread_not_used_until_it_ends(readers, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE", 0.05)
    ended = threading.Event()
    for _ in range(2):
        with pytest.raises(
            StoreError, match=f"^{FOLDER}: cannot be read: the store did not answer"
        ):
            in_time(FOLDER, ended.wait)
    assert not readers
    monkeypatch.setattr(objects, "PATIENCE", 60)
    assert in_time(FOLDER, lambda: "row") == "row"
    ended.set()
    while len(readers) < 3:
        threading.Event().wait(0.01)


@pytest.mark.parametrize("error", [RuntimeError("damaged"), TimeoutError("of the client")])
def test_an_error_of_a_read_is_raised_as_it_is(readers, error):
    def fail():
        raise error

    with pytest.raises(type(error), match=str(error)):
        in_time(FOLDER, fail)
    assert in_time(FOLDER, lambda: "row") == "row"
    assert len(readers) == 1


def test_what_was_read_is_not_kept(readers):
    content = in_time(FOLDER, threading.Event)
    kept = weakref.ref(content)
    del content
    gc.collect()
    assert kept() is None


def test_a_child_process_starts_threads_of_its_own():
    work = (
        "import os\n"
        "from teacherlm_jax.storage.time_limit import in_time\n"
        "assert in_time('gs://b', lambda: 1) == 1\n"
        "if child := os.fork():\n"
        "    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "assert in_time('gs://b', lambda: 2) == 2\n"
        "os._exit(0)"
    )
    assert subprocess.run([sys.executable, "-c", work], timeout=60).returncode == 0
