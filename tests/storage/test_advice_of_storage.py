"""Advice in error messages about files, stores and locks, which works when it is followed."""

import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from etils import epath

from benchmarks import bucket as bucket_server
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import files, folder_lock, locations, objects, time_limit
from teacherlm_jax.storage.mirror import Mirror


def refusal(function, *arguments):
    with pytest.raises((UserError, StoreError)) as raised:
        function(*arguments)
    return str(raised.value)


# The content of a file that is refused, and the advice of its message.
JSON = {
    "not UTF-8": (b'{"a": "\xff"}', "copy it here again"),
    "not JSON": (b'{"a": 1', "correct it or copy it again"),
    "long number": (b"1" * 5000, "correct it or copy it again"),
    "missing": (None, "restore it or correct the path"),
}


@pytest.mark.parametrize("fault", JSON)
@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_json_file_is_read_after_it_is_restored(request, tmp_path, place, fault):
    content, advice = JSON[fault]
    folder = tmp_path if place == "disk" else epath.Path(request.getfixturevalue("bucket"))
    if content is not None:
        files.write_bytes(folder / "a.json", content)
    assert refusal(files.read_json, folder / "a.json").endswith(f"; {advice}")
    files.write_bytes(folder / "a.json", b'{"a": 1}')
    assert files.read_json(folder / "a.json") == {"a": 1}


@pytest.mark.parametrize("fault", ["not JSON", "long number"])
def test_a_json_file_is_read_after_it_is_corrected_at_the_line_that_is_named(tmp_path, fault):
    lines = ["{", '"a": oops', "}"] if fault == "not JSON" else ["9" * 5000]
    path = tmp_path / "a.json"
    path.write_text("\n".join(lines))
    message = refusal(files.read_json, path)
    assert message.endswith("; correct it or copy it again")
    line = int(re.search(r"\.json:(\d+):", message)[1]) if fault == "not JSON" else 1
    lines[line - 1] = '"a": 1' if fault == "not JSON" else "9"
    path.write_text("\n".join(lines))
    assert files.read_json(path) in ({"a": 1}, 9)


def read(path):
    with files.opened(path) as file:
        return file.read()


@pytest.mark.parametrize("way", ["correct that", "name another file"])
def test_a_file_is_read_after_its_problem_is_corrected_or_another_is_named(tmp_path, way):
    path = tmp_path / "a"
    path.mkdir()
    assert way in refusal(read, path)
    if way == "correct that":
        path.rmdir()
    else:
        path = tmp_path / "b"
    path.write_bytes(b"content")
    assert read(path) == b"content"


@pytest.mark.parametrize("pattern", ["a.txt", "*.txt"])
def test_files_are_found_with_a_path_or_a_glob_that_names_them(tmp_path, pattern):
    (tmp_path / "a.txt").touch()
    message = refusal(locations.expand, tmp_path, "*.csv")
    assert message.endswith("; give a path or a glob that names existing files")
    assert locations.expand(tmp_path, pattern) == [epath.Path(tmp_path / "a.txt")]


def test_files_are_found_with_one_star_for_each_level_of_folders(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "a.txt").touch()
    message = refusal(locations.expand, tmp_path, "**/*.txt")
    assert message.endswith("; write one * for each level of folders")
    assert locations.expand(tmp_path, "*/*/*.txt") == [epath.Path(tmp_path / "x/y/a.txt")]


def test_addresses_of_the_stores_that_a_message_names_are_accepted():
    message = refusal(locations.under, "", "ftp://host/a")
    stores = message.partition("one that begins with ")[2].split(", ")
    assert "gs://" in stores
    for store in stores:
        assert str(locations.under("", f"{store}a/b")) == f"{store}a/b"
    assert str(locations.under("", "/a/b")) == "/a/b"


def test_files_of_a_store_without_a_package_are_read_on_this_machine(tmp_path, monkeypatch):
    def find(path):
        with locations.refusing(epath.Path(path)):
            raise ImportError("Install adlfs")

    message = refusal(find, "az://a/b")
    assert message.endswith("; run pip install adlfs, or copy the files to this machine")
    (tmp_path / "b").touch()
    assert locations.expand("", str(tmp_path / "b"))


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("way", ["create it", "correct the name"])
def test_a_bucket_is_used_after_it_is_created_or_its_name_is_corrected(way):
    name = "not-made-yet"
    message = refusal(objects.refuse_missing_bucket, f"gs://{name}/a")
    assert message.endswith(f"there is no bucket gs://{name}; create it, or correct the name")
    if way == "create it":
        name = "made-as-advised"
        assert "no bucket" in refusal(objects.refuse_missing_bucket, f"gs://{name}/a")
        bucket_server.create_bucket(os.environ["STORAGE_EMULATOR_HOST"], name)
    else:
        name = bucket_server.NAME
    objects.refuse_missing_bucket(f"gs://{name}/a")


def test_a_folder_is_used_after_the_process_that_holds_it_stops(tmp_path):
    held = folder_lock.acquire(tmp_path / ".lock")
    assert refusal(folder_lock.acquire, tmp_path / ".lock").endswith("; wait for it or stop it")
    held.release()
    folder_lock.acquire(tmp_path / ".lock").release()


def test_a_copied_folder_is_used_after_the_lock_that_a_message_names_is_removed(tmp_path):
    (tmp_path / ".lock").mkdir()
    (tmp_path / ".lock" / "1").write_text(json.dumps({"free": False, "holder": "host 1"}))
    message = refusal(folder_lock.acquire, tmp_path / ".lock")
    shutil.rmtree(Path(re.search(r"; if that process has ended, remove (\S+)$", message)[1]))
    folder_lock.acquire(tmp_path / ".lock").release()


def test_a_folder_in_a_bucket_is_used_by_one_process_after_the_other_stops(bucket):
    lock = f"{bucket}/.lock"
    first = folder_lock.acquire(lock, beat=1000, stale=0)
    objects.remove_folder(lock)
    second = folder_lock.acquire(lock, beat=1000, stale=0)
    assert refusal(first.check).endswith("; stop one of the two")
    first.release()
    second.check()
    second.release()


def test_a_file_that_the_store_did_not_return_in_time_is_read_again(bucket, monkeypatch):
    objects.put(f"{bucket}/a", b"content")
    monkeypatch.setattr(objects, "PATIENCE", 0.01)
    answer = threading.Event()
    message = refusal(time_limit.in_time, f"{bucket}/a", lambda: answer.wait(5))
    answer.set()
    assert message.endswith("; repeat the command")
    monkeypatch.setattr(objects, "PATIENCE", 30)
    assert time_limit.in_time(f"{bucket}/a", lambda: objects.read(f"{bucket}/a")) == b"content"


def test_files_that_are_not_in_the_bucket_yet_are_copied_by_the_command_of_the_message(
    bucket, proxy, monkeypatch
):
    monkeypatch.setattr(objects, "PATIENCE", 0.05)
    opened = Mirror(f"{bucket}/run", every=1000)
    (opened.folder / "log.txt").write_text("one\n")
    proxy.fail(503, "write")
    message = refusal(opened.close)
    copied = re.search(r", or copy them: gcloud storage cp --recursive (\S+)/\* (\S+/)$", message)
    assert f"; files that are not in the bucket yet are in {copied[1]}; " in message
    proxy.clear()
    for path in Path(copied[1]).glob("[!.]*"):
        objects.upload(path, f"{copied[2]}{path.name}")
    again = Mirror(f"{bucket}/run", every=1000)  # as the repeated command opens it
    assert (again.folder / "log.txt").read_text() == "one\n"
    again.close()
