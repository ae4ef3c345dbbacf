"""Threads that publish files and renew a lock while the store fails: a line, and another try."""

import errno
import re
import tempfile
import time

import pytest

from teacherlm_jax.errors import StoreError
from teacherlm_jax.storage import folder_lock, objects
from teacherlm_jax.storage.mirror import Mirror
from teacherlm_jax.storage.repeated import Repeated


class _FullLog(list):
    """Lines of a log whose disk is full: a line raises an error, and so does its thread."""

    def append(self, line):
        super().append(line)
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    """Put copies into a folder of the test, and give requests up soon."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(objects, "PATIENCE", 0.05)


def _await(lines, count=1):
    end = time.monotonic() + 8
    while len(lines) < count and time.monotonic() < end:
        time.sleep(0.01)
    return lines[count - 1]


def test_work_is_repeated_although_neither_it_nor_the_log_can_be_written():
    lines, done = _FullLog(), []

    def work():
        done.append(0)
        raise StoreError("refused")

    repeated = Repeated(0.01, work, lines.append)
    assert _await(lines, 3) == "refused; trying again in 0 s"
    repeated.end()
    assert len(done) == len(lines) >= 3


def test_publications_and_locks_outlive_a_log_that_cannot_be_written(proxy, bucket):
    of_lock, of_files = _FullLog(), _FullLog()
    held = folder_lock.acquire(f"{bucket}/.lock", beat=0.05, stale=60, say=of_lock.append)
    opened = Mirror(bucket, every=0.05, say=of_files.append)
    proxy.fail(403, "write")
    (opened.folder / "log.txt").write_text("one\n")
    for lines in (of_lock, of_files):
        _await(lines, 2)
    proxy.clear()
    opened.close()
    held.check()
    held.release()
    assert objects.read(f"{bucket}/log.txt") == b"one\n"


@pytest.mark.parametrize("answer", [403, 503])
def test_files_that_were_not_published_are_published_later(proxy, bucket, answer):
    lines = []
    opened = Mirror(bucket, every=0.05, say=lines.append)
    proxy.fail(answer, "write")
    (opened.folder / "log.txt").write_text("one\n")
    line = _await(lines)
    assert re.match(f"{bucket}/log.txt: cannot be written: .*; trying again in 0 s$", line)
    proxy.clear()
    opened.close()
    assert objects.read(f"{bucket}/log.txt") == b"one\n"


def test_files_that_are_never_published_stay_on_this_machine_and_are_named(proxy, bucket):
    opened = Mirror(bucket, every=1000)
    (opened.folder / "log.txt").write_text("one\n")
    proxy.fail(503, "write")
    with pytest.raises(
        StoreError, match=f"{bucket}/log.txt: .*; files that are not in the bucket yet"
    ) as raised:
        opened.close()
    assert f" are in {opened.folder}; repeat the command, or copy them: " in str(raised.value)
    assert (opened.folder / "log.txt").read_text() == "one\n"


@pytest.mark.parametrize("answer", [403, 503, "reset"])
def test_a_lock_that_cannot_be_renewed_for_a_while_is_kept(proxy, bucket, answer):
    lines = []
    held = folder_lock.acquire(f"{bucket}/.lock", beat=0.05, stale=60, say=lines.append)
    proxy.fail(answer, "write|list")
    line = _await(lines)
    assert re.match(f"{bucket}: the lock cannot be renewed: {bucket}/.lock.*: cannot be", line)
    proxy.clear()
    held.check()
    held.release()
    folder_lock.acquire(f"{bucket}/.lock").release()
