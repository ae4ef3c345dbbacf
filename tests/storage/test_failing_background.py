"""Threads that publish files and renew a lock while the store fails: a line, and another try."""

import re
import tempfile
import time

import pytest

from teacherlm_jax.errors import StoreError
from teacherlm_jax.storage import folder_lock, objects
from teacherlm_jax.storage.mirror import Mirror


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    """Put copies into a folder of the test, and give requests up soon."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(objects, "PATIENCE", 0.05)


def _await(lines):
    end = time.monotonic() + 8
    while not lines and time.monotonic() < end:
        time.sleep(0.01)
    return lines[0]


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
