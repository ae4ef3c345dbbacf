"""A folder in a bucket and its copy on this machine."""

import os
import subprocess
import sys
import tempfile
import time

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.mirror import Mirror
from teacherlm_jax.storage.mirrored_files import MirroredFiles


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """Folder of the copies."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names(bucket):
    return sorted(objects.listing(bucket))


def test_changed_files_are_published_whole_and_others_not_again(bucket):
    opened = Mirror(bucket, every=1000)
    (opened.folder / "log.txt").write_text("one\n")
    (opened.folder / "texts").mkdir()
    (opened.folder / "texts/a.jsonl").write_text("{}\n")
    assert opened.publish() == 2
    assert opened.publish() == 0
    with (opened.folder / "log.txt").open("a") as file:
        file.write("two\n")
    assert opened.publish() == 1
    assert objects.read(f"{bucket}/log.txt") == b"one\ntwo\n"
    assert names(bucket) == ["log.txt", "texts/a.jsonl"]
    opened.close()
    assert not opened.folder.exists()


def test_files_that_were_removed_are_removed_in_the_bucket(bucket):
    objects.put(f"{bucket}/result.json", b"{}")
    opened = Mirror(bucket, every=1000)
    (opened.folder / "result.json").unlink()
    assert opened.publish() == 1
    assert names(bucket) == []
    opened.close()


def test_the_copy_stays_and_is_named_if_the_last_publication_is_interrupted(
    bucket, monkeypatch, copies
):
    said = []
    opened = Mirror(bucket, every=1000, say=said.append)
    (opened.folder / "log.txt").write_text("one\n")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(objects, "upload", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened.close()
    copied = f"gcloud storage cp --recursive {opened.folder}/* {bucket}/"
    (line,) = said
    assert line == (
        f"{bucket}: files that are not in the bucket yet are in {opened.folder}; repeat the "
        f"command, or copy them: {copied}"
    )
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    Mirror(bucket, every=1000).close()  # the next command removes what killed processes left
    assert (opened.folder / "log.txt").read_text() == "one\n"


def test_a_folder_is_copied_when_it_is_opened(bucket):
    objects.put(f"{bucket}/texts/a.jsonl", b"{}\n")
    objects.put(f"{bucket}/checkpoints/1/params", b"large")
    opened = Mirror(bucket, MirroredFiles(apart=["checkpoints"]), every=1000)
    assert (opened.folder / "texts/a.jsonl").read_text() == "{}\n"
    assert not (opened.folder / "checkpoints").exists()
    assert opened.publish() == 0
    opened.close()
    assert names(bucket) == ["checkpoints/1/params", "texts/a.jsonl"]


def test_hidden_files_stay_on_this_machine(bucket):
    opened = Mirror(bucket, every=1000)
    (opened.folder / ".unfinished").mkdir()
    (opened.folder / ".unfinished/rows").write_text("half")
    opened.close()
    assert names(bucket) == []


def test_the_file_that_marks_the_end_is_published_last(bucket, monkeypatch):
    order = []
    monkeypatch.setattr(objects, "upload", lambda source, path: order.append(source.name))
    opened = Mirror(bucket, MirroredFiles(last=["a-result.json"]), every=1000)
    for name in ("a-result.json", "b", "c"):
        (opened.folder / name).write_text(name)
    opened.close()
    assert order == ["b", "c", "a-result.json"]


def test_changes_are_published_in_the_background(bucket):
    opened = Mirror(bucket, every=0.05)
    (opened.folder / "log.txt").write_text("one\n")
    end = time.monotonic() + 30
    while not names(bucket) and time.monotonic() < end:
        time.sleep(0.05)
    assert objects.read(f"{bucket}/log.txt") == b"one\n"
    opened.close()


def test_a_publication_in_the_background_that_fails_is_reported_and_repeated(bucket, monkeypatch):
    said, upload = [], objects.upload

    def fail(source, path):
        if not said:
            raise UserError(f"{path}: cannot be written: HTTP status 503")
        upload(source, path)

    monkeypatch.setattr(objects, "upload", fail)
    opened = Mirror(bucket, every=0.05, say=said.append)
    (opened.folder / "log.txt").write_text("one\n")
    end = time.monotonic() + 30
    while not names(bucket) and time.monotonic() < end:
        time.sleep(0.05)
    opened.close()
    assert said == [f"{bucket}/log.txt: cannot be written: HTTP status 503; trying again in 0 s"]
    assert names(bucket) == ["log.txt"]


def test_a_copy_that_cannot_be_published_is_kept_and_named(bucket, monkeypatch, copies):
    def fail(source, path):
        raise UserError(f"{path}: cannot be written: HTTP status 503")

    opened = Mirror(bucket, every=1000)
    (opened.folder / "log.txt").write_text("one\n")
    monkeypatch.setattr(objects, "upload", fail)
    with pytest.raises(UserError, match="files that are not in the bucket yet are in ") as raised:
        opened.close()
    later = Mirror(bucket, every=1000)
    (kept,) = copies.glob("*/log.txt")
    assert str(raised.value).endswith(str(kept.parent))
    monkeypatch.undo()
    later.close()


def test_copies_of_killed_processes_are_removed(bucket, copies):
    code = (
        "import os, sys; from teacherlm_jax.storage.mirror import Mirror\n"
        "Mirror(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, bucket]
    subprocess.run(command, check=False, env={**os.environ, "TMPDIR": str(copies)})
    (left,) = copies.iterdir()
    opened = Mirror(bucket, every=1000)
    assert not left.exists()
    assert opened.folder.exists()
    opened.close()


def test_a_folder_of_that_name_without_the_mark_is_not_removed(bucket, copies):
    (copies / "teacherlm-2024-runs").mkdir()
    (copies / "teacherlm-2024-runs/mine.txt").write_text("mine")
    first = Mirror(bucket, every=1000)
    second = Mirror(bucket, every=1000)
    assert first.folder.exists()
    second.close()
    first.close()
    assert (copies / "teacherlm-2024-runs/mine.txt").exists()


def test_nothing_is_published_by_a_process_that_may_not_any_more(bucket):
    allowed = [True]

    def check():
        if not allowed:
            raise UserError("taken over")

    opened = Mirror(bucket, every=0.05, check=check)
    objects.put(f"{bucket}/result.json", b"{}")
    allowed.clear()
    (opened.folder / "log.txt").write_text("one\n")
    time.sleep(0.3)
    with pytest.raises(UserError) as raised:
        opened.close()
    assert str(raised.value).endswith(f" not in the bucket yet are in {opened.folder}")
    assert names(bucket) == ["result.json"]


def test_a_missing_bucket_is_refused_before_anything_is_copied(bucket):
    with pytest.raises(UserError, match="there is no bucket gs://no-such-bucket"):
        Mirror("gs://no-such-bucket/runs/a")
