"""Requests to a bucket that fail: transient errors are retried, others are refused in one line."""

import asyncio
import gc
import os
import sys
import threading
import types

import pytest
from fsspec import asyn
from gcsfs.core import GCSFileSystem

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import checksums, files, gcs_client, locations, objects, ranges
from teacherlm_jax.storage.paths import StoragePath

CONTENT = bytes(range(256)) * 20
PARTS = ((0, 5), (5, 3000), (3000, len(CONTENT)))
READ = {
    "read": lambda path, folder: objects.read(path),
    "download": lambda path, folder: _downloaded(path, folder / "back"),
    "open": lambda path, folder: _opened(path),
    "read_bytes": lambda path, folder: StoragePath(path).read_bytes(),
    "ranges": lambda path, folder: b"".join(ranges.read_many(path, PARTS)),
}
LIST = {
    "listing": lambda path, folder: objects.listing(os.path.dirname(path)),
    "glob": lambda path, folder: locations.expand("", f"{os.path.dirname(path)}/*"),
    "iterdir": lambda path, folder: list(StoragePath(path).parent.iterdir()),
    "is_folder": lambda path, folder: files.is_folder(os.path.dirname(path)),
    "is_dir": lambda path, folder: StoragePath(path).parent.is_dir(),
    "exists": lambda path, folder: StoragePath(path).parent.exists(),
}
WRITE = {
    "put": lambda path, folder: objects.put(path, CONTENT),
    "upload": lambda path, folder: _uploaded(path, folder / "here"),
    "new_file": lambda path, folder: _written(path, CONTENT),
    "create": lambda path, folder: objects.create(f"{path}.lock", CONTENT),
    "write_bytes": lambda path, folder: StoragePath(path).write_bytes(CONTENT),
    "replace_version": lambda path, folder: _replaced(path, CONTENT),
}
ALL = {
    **{name: ("read", work) for name, work in READ.items()},
    **{name: ("list", work) for name, work in LIST.items()},
    **{name: ("write", work) for name, work in WRITE.items()},
    "remove": ("remove", lambda path, folder: objects.remove(path)),
}


def _downloaded(path, target):
    objects.download(path, target)
    return target.read_bytes()


def _opened(path):
    with files.opened(path) as file:
        return file.read()


def _uploaded(path, source):
    source.write_bytes(CONTENT)
    objects.upload(source, path)


def _replaced(path, content):
    version = objects.read_version(path)
    assert version is None or objects.replace_version(path, content, version[1])


def _written(path, content):
    file = ranges.new_file(path)
    try:
        for start in range(0, len(content), 700_000):
            file.write(content[start : start + 700_000])
        file.close()
    except BaseException:
        file.discard()
        raise


@pytest.fixture
def path(proxy, bucket):
    """Address of an object with CONTENT."""
    objects.put(f"{bucket}/folder/a.bin", CONTENT)
    return f"{bucket}/folder/a.bin"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (403, "permission denied; the account needs roles/storage.object"),
        (401, "no valid credentials; run gcloud auth application-default login"),
    ],
)
def test_a_request_that_is_forbidden_is_refused_at_once_with_its_address(
    proxy, path, tmp_path, name, answer, reason
):
    kind, work = ALL[name]
    fault = proxy.fail(answer, f"{kind}|stat")
    with pytest.raises(StoreError) as raised:
        work(path, tmp_path)
    _assert_named(raised.value, path, reason)
    assert fault.failed <= 3  # the same object may be asked for in several ways


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("answer", [503, 429, "reset"])
def test_transient_errors_are_retried(proxy, path, tmp_path, name, answer):
    kind, work = ALL[name]
    wanted = work(path, tmp_path) if kind in ("read", "list") else None
    fault = proxy.fail(answer, f"{kind}|stat", times=3)
    result = work(path, tmp_path)
    assert fault.failed == 3
    if kind in ("read", "list"):
        assert result == wanted
    elif name == "remove":
        assert objects.read(path) is None
    else:
        assert objects.read(f"{path}.lock" if name == "create" else path) == CONTENT


@pytest.fixture
def pauses(monkeypatch):
    """Pauses of the client between attempts, which pass at once, with a patience of 60 seconds."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    clock = types.SimpleNamespace(monotonic=lambda: sum(slept))
    monkeypatch.setattr(objects, "PATIENCE", 60.0)
    monkeypatch.setattr(gcs_client, "time", clock)
    monkeypatch.setattr(gcs_client, "random", types.SimpleNamespace(random=lambda: 0.0))
    monkeypatch.setattr(
        gcs_client, "asyncio", types.SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    )
    return slept


def test_pauses_between_attempts_double_up_to_a_limit(proxy, path, pauses):
    fault = proxy.fail(503, "read")
    with pytest.raises(StoreError):
        objects.read(path)
    assert pauses == [1, 2, 4, 8, 16, 16]  # one more pause would end after 60 seconds
    assert fault.failed == 7


@pytest.mark.parametrize("name", ALL)
def test_a_store_that_always_fails_is_given_up(proxy, path, tmp_path, name, pauses):
    kind, work = ALL[name]
    fault = proxy.fail(503, f"{kind}|stat")
    with pytest.raises(StoreError) as raised:
        work(path, tmp_path)
    _assert_named(raised.value, path, "did not answer as expected (HTTP status 503); repeat the")
    assert 1 < fault.failed <= 3 * 7  # up to three requests at the same time


@pytest.mark.parametrize("name", ["read", "listing", "put", "download"])
def test_a_store_that_is_silent_is_given_up(proxy, path, tmp_path, name, monkeypatch):
    """Its answers come after a minute, and would be right."""
    monkeypatch.setattr(objects, "PATIENCE", 0.1)
    monkeypatch.setattr(objects, "SILENCE", 0.3)
    fault = proxy.fail(delay=60.0)
    with pytest.raises(StoreError, match="the store did not answer as expected"):
        ALL[name][1](path, tmp_path)
    assert 1 <= fault.failed <= 2


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("answer", ["reset", "truncated", "short"])
def test_truncated_responses_are_retried(proxy, path, tmp_path, name, answer, monkeypatch):
    fault = proxy.fail(answer, "read", times=2)
    assert READ[name](path, tmp_path) == CONTENT
    assert fault.failed == 2
    monkeypatch.setattr(objects, "PATIENCE", 0.2)
    proxy.fail(answer, "read")
    with pytest.raises(StoreError, match=f"^{path}: cannot be read: "):
        READ[name](path, tmp_path)


@pytest.mark.parametrize("name", ["read", "download"])
def test_wrong_checksums_are_retried(proxy, path, tmp_path, name, monkeypatch):
    fault = proxy.fail("changed", "read", times=2)
    assert READ[name](path, tmp_path) == CONTENT
    assert fault.failed == 2
    monkeypatch.setattr(objects, "PATIENCE", 0.2)
    proxy.fail("changed", "read")
    with pytest.raises(StoreError, match=f"^{path}: cannot be read: the store did not answer as"):
        READ[name](path, tmp_path)


@pytest.mark.parametrize("answer", ["changed", "short", "truncated", 503])
def test_a_large_object_that_is_downloaded_in_parts_is_the_whole_object(
    proxy, bucket, tmp_path, monkeypatch, answer
):
    monkeypatch.setattr(gcs_client, "_LARGE", 6_000_000)
    content = os.urandom(12_000_000)
    objects.put(f"{bucket}/a", content)
    fault = proxy.fail(answer, "read", times=1, after=1)
    assert _downloaded(f"{bucket}/a", tmp_path / "back") == content
    assert fault.failed == 1 and proxy.counts["read"] >= 3  # in parts
    monkeypatch.setattr(objects, "PATIENCE", 0.2)
    proxy.fail(answer, "read")
    with pytest.raises(StoreError, match=f"^{bucket}/a: cannot be read: the store did not answer"):
        _downloaded(f"{bucket}/a", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("large", [6_000_000, 100_000_000])
def test_a_wrong_checksum_after_a_long_download_is_retried(
    proxy, bucket, tmp_path, monkeypatch, pauses, large
):
    content, checksum = os.urandom(12_000_000), checksums.checksum
    objects.put(f"{bucket}/a", content)
    monkeypatch.setattr(gcs_client, "_LARGE", large)

    def slow(blocks):
        pauses.append(100.0)
        return checksum(blocks)

    monkeypatch.setattr(checksums, "checksum", slow)
    fault = proxy.fail("changed", "read", times=1)
    assert _downloaded(f"{bucket}/a", tmp_path / "back") == content
    assert fault.failed == 1


def test_truncated_parts_of_an_object_are_retried(proxy, bucket):
    content = os.urandom(12_000_000)
    objects.put(f"{bucket}/a", content)
    fault = proxy.fail("short", "read", times=2, after=1)
    with files.opened(f"{bucket}/a") as file:
        assert file.read(100) == content[:100]
        file.seek(9_000_000)
        assert file.read() == content[9_000_000:]
    assert fault.failed == 2


@pytest.mark.parametrize(("size", "after"), [(5000, 0), (20_000_000, 1), (56_000_000, 2)])
def test_an_upload_that_breaks_in_the_middle_is_retried(proxy, bucket, tmp_path, size, after):
    """The first size is sent in one request; the others are announced, and sent in parts."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    fault = proxy.fail("reset", "write", times=1, after=after)
    objects.upload(source, f"{bucket}/a")
    objects.download(f"{bucket}/a", tmp_path / "back")
    assert fault.failed == 1
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_upload_that_fails_in_a_part_leaves_the_old_object_and_its_own_error(
    proxy, bucket, tmp_path
):
    objects.put(f"{bucket}/a", b"old")
    source = tmp_path / "source"
    source.write_bytes(bytes(20_000_000))
    proxy.fail(503, "write", after=1)
    proxy.fail(404, "cancel")
    with pytest.raises(StoreError, match=f"^{bucket}/a: cannot be written: .*HTTP status 503"):
        objects.upload(source, f"{bucket}/a")
    assert objects.read(f"{bucket}/a") == b"old"


@pytest.mark.parametrize("answer", [503, "reset"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_part_of_a_new_file_that_fails_is_retried(proxy, bucket, monkeypatch, answer, after):
    """The file is announced and then sent in three parts."""
    monkeypatch.setattr(objects, "_UPLOAD_BLOCK", 1 << 20)
    content = os.urandom(3_000_000)
    fault = proxy.fail(answer, "write", times=1, after=after)
    _written(f"{bucket}/a", content)
    assert fault.failed == 1
    assert objects.read(f"{bucket}/a") == content


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2),
    reason="Python 3.12.1 crashes when it collects a view of a BytesIO (CPython issue 111049)",
)
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_new_file_that_is_refused_in_a_part_leaves_the_old_object(
    proxy, bucket, monkeypatch, after
):
    monkeypatch.setattr(objects, "_UPLOAD_BLOCK", 1 << 20)
    objects.put(f"{bucket}/a", b"old")
    proxy.fail(403, "write", after=after)
    with pytest.raises(StoreError, match=f"^{bucket}/a: cannot be written: permission denied"):
        _written(f"{bucket}/a", bytes(3_000_000))
    gc.collect()
    assert objects.read(f"{bucket}/a") == b"old"


def test_an_object_whose_creation_was_answered_by_a_reset_is_its_own(proxy, bucket):
    proxy.fail("reset", "write", times=1)
    assert objects.create(f"{bucket}/lock", b"mine")
    assert not objects.create(f"{bucket}/lock", b"other")


@pytest.mark.parametrize("answer", [503, "reset"])
def test_a_version_is_replaced_once(proxy, bucket, answer):
    objects.put(f"{bucket}/a b", b"first")
    content, generation = objects.read_version(f"{bucket}/a b")
    assert content == b"first"
    fault = proxy.fail(answer, "write", times=1)
    assert objects.replace_version(f"{bucket}/a b", b"second", generation)
    assert fault.failed == 1
    assert not objects.replace_version(f"{bucket}/a b", b"third", generation)
    assert objects.read_version(f"{bucket}/a b") > (b"second", generation)
    objects.remove(f"{bucket}/a b")
    assert not objects.replace_version(f"{bucket}/a b", b"third", generation)
    assert objects.read_version(f"{bucket}/a b") is None


def test_a_version_whose_replacement_was_not_answered_is_its_own(proxy, bucket, monkeypatch):
    """The store has replaced it, but the connection breaks before the answer."""
    objects.put(f"{bucket}/a", b"first")
    _, generation = objects.read_version(f"{bucket}/a")
    request = GCSFileSystem._request.__wrapped__
    lost = []

    async def lose(self, method, *args, **options):
        answer = await request(self, method, *args, **options)
        if method == "POST" and not lost:
            lost.append(answer)
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(GCSFileSystem._request, "__wrapped__", lose)
    assert objects.replace_version(f"{bucket}/a", b"second", generation)
    assert lost


@pytest.mark.parametrize("name", [*READ, *LIST, *WRITE])
def test_a_missing_bucket_is_named(proxy, tmp_path, name):
    path = "gs://no-such-bucket/folder/a.bin"
    if name in ("read", "is_folder", "is_dir", "exists", "replace_version"):
        assert not ALL[name][1](path, tmp_path)
        return
    with pytest.raises((StoreError, UserError, FileNotFoundError)) as raised:
        ALL[name][1](path, tmp_path)
    assert "gs://no-such-bucket" in str(raised.value)


def test_an_object_without_the_right_to_stat_it_is_found_in_the_listing(proxy, path):
    proxy.fail(403, "stat")
    assert StoragePath(path).exists() and StoragePath(path).is_file()
    assert not StoragePath(f"{path}.none").exists()


def test_errors_of_the_disk_stay_errors_of_the_disk(proxy, path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"'{tmp_path}/file'"):
        objects.download(path, tmp_path / "file" / "back")
    with pytest.raises(FileNotFoundError, match="nothing here"):
        objects.upload(tmp_path / "nothing here", path)


def _assert_named(error, path, text):
    message = str(error)
    assert message.startswith(os.path.dirname(path)) and "\n" not in message
    assert text in message
    assert "http" not in message and "injected" not in message


def test_the_checksum_of_a_download_does_not_stop_the_event_loop(bucket, tmp_path, monkeypatch):
    objects.put(f"{bucket}/a", CONTENT)
    threads, blocks = [], checksums.blocks

    def noted(path):
        for block in blocks(path):
            threads.append(threading.current_thread())
            yield block

    monkeypatch.setattr(checksums, "blocks", noted)
    objects.download(f"{bucket}/a", tmp_path / "a")
    assert threads and asyn.iothread[0] not in threads
    assert (tmp_path / "a").read_bytes() == CONTENT
