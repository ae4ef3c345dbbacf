"""Rows of a bucket, read from a copy on this machine."""

import errno
import os

import pytest

from teacherlm_jax.data import prepared
from teacherlm_jax.data.cached_rows import RowCache
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.reader import PREPARE_AGAIN
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import objects
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

SHARD = "rows-00001-of-00003.array_record"


@pytest.fixture(scope="module")
def on_disk(write_prepared, tmp_path_factory):
    """A prepared folder of ten rows in three shards."""
    vocabulary = train_sentencepiece(["a b c d"], tmp_path_factory.mktemp("v"), 400, seed=0)
    texts = [Encoded([number + 3] * 6, [True] * 6) for number in range(10)]
    return write_prepared(tmp_path_factory.mktemp("rows"), texts, vocabulary, 8, rows_per_shard=4)


@pytest.fixture
def in_bucket(bucket, on_disk):
    """The same folder in a bucket."""
    for path in on_disk.rglob("*"):
        if path.is_file():
            objects.upload(path, f"{bucket}/{path.relative_to(on_disk)}")
    return prepared.open(bucket)


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    with_cache = opened(tmp_path / "cache", said)
    yield with_cache
    with_cache.close()


def opened(folder, said, *, limit_gib=1, verify=True):
    return RowCache(str(folder), limit_gib=limit_gib, verify=verify, say=said.append)


def tokens(data):
    reader = data.reader(batch_size=2)
    return [reader.batch(step)["tokens"].tolist() for step in range(5)]


def test_the_same_rows_come_from_the_cache(in_bucket, on_disk, cache, said, tmp_path):
    local = cache.local(in_bucket)
    assert local.folder.parent == tmp_path / "cache"
    assert tokens(local) == tokens(in_bucket) == tokens(prepared.open(on_disk))
    (line,) = said
    assert line.startswith(f"{in_bucket.folder}: copying 3 of 3 shards, ")


def test_a_second_run_copies_nothing_and_reads_nothing_from_the_bucket(in_bucket, cache, said):
    before = tokens(cache.local(in_bucket))
    for name in objects.listing(in_bucket.folder):
        objects.remove(f"{in_bucket.folder}/{name}")
    said.clear()
    assert tokens(cache.local(in_bucket)) == before
    assert said == []


def test_shards_that_are_missing_truncated_or_altered_are_copied_again(in_bucket, cache, said):
    folder = cache.local(in_bucket).folder
    names = [shard["name"] for shard in in_bucket.manifest["shards"]]
    wanted = [(folder / name).read_bytes() for name in names]
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(wanted[1][:-1])
    (folder / names[2]).write_bytes(bytes([wanted[2][0] ^ 1]) + wanted[2][1:])
    said.clear()
    cache.local(in_bucket)
    assert [(folder / name).read_bytes() for name in names] == wanted
    assert said[0].startswith(f"{in_bucket.folder}: copying 3 of 3 shards, ")


def test_a_shard_that_differs_from_the_manifest_is_refused_until_the_data_are_prepared_again(
    in_bucket, on_disk, cache
):
    content = objects.read(f"{in_bucket.folder}/{SHARD}")
    objects.put(f"{in_bucket.folder}/{SHARD}", content[:-1] + bytes([content[-1] ^ 1]))
    message = f"^{in_bucket.folder}/{SHARD}: digest is sha256:.*; {PREPARE_AGAIN}$"
    with pytest.raises(UserError, match=message):
        cache.local(in_bucket)
    objects.put(f"{in_bucket.folder}/{SHARD}", content)
    assert tokens(cache.local(in_bucket)) == tokens(prepared.open(on_disk))


def test_without_room_the_rows_are_read_from_the_bucket(in_bucket, tmp_path, said):
    tiny = opened(tmp_path / "cache", said, limit_gib=1e-9)
    assert tiny.local(in_bucket) is in_bucket
    assert f"the rows of {in_bucket.folder} are read from the bucket" in said[0]
    assert "config.data_cache_gib" in said[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_the_copy_is_left_as_it_was(
    in_bucket, cache, said, tmp_path, monkeypatch, number
):
    def download(source, target):
        target.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(objects, "download", download)
        assert cache.local(in_bucket) is in_bucket
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert os.strerror(number) in said[-1]
    assert said[-1].endswith("; name a folder on another disk in config.data_cache")


@pytest.mark.parametrize("folder", ["file/cache", "~nobody-here/cache"])
def test_a_folder_that_cannot_be_created_is_named_with_its_key(in_bucket, tmp_path, said, folder):
    (tmp_path / "file").touch()
    path = folder if folder.startswith("~") else tmp_path / folder
    assert opened(path, said).local(in_bucket) is in_bucket
    (line,) = said
    assert line.startswith(f"{path}: N") and line.endswith(" in config.data_cache")


def test_a_copy_that_a_failing_store_interrupted_is_continued(
    in_bucket, on_disk, cache, said, proxy, monkeypatch
):
    monkeypatch.setattr(objects, "PATIENCE", 0.5)
    fault = proxy.fail(503, "read", SHARD)
    with pytest.raises(StoreError, match=f"^{in_bucket.folder}/{SHARD}: cannot be read: "):
        cache.local(in_bucket)
    assert fault.failed
    proxy.clear()
    proxy.fail("reset", "read", times=1)
    assert tokens(cache.local(in_bucket)) == tokens(prepared.open(on_disk))
    assert said[-1].startswith(f"{in_bucket.folder}: copying 1 of 3 shards, ")


def test_a_damaged_copy_that_was_not_verified_is_copied_again_as_the_message_says(
    in_bucket, tmp_path, said
):
    trusting = opened(tmp_path / "cache", said, verify=False)
    local = trusting.local(in_bucket)
    shard = local.folder / SHARD
    shard.write_bytes(bytes(shard.stat().length))
    message = rf"^{local.folder}: .*; remove this copy and repeat the command"
    with pytest.raises(UserError, match=message):
        tokens(trusting.local(in_bucket))
    local.folder.rmtree()
    assert tokens(trusting.local(in_bucket)) == tokens(in_bucket)


def test_data_on_this_machine_and_no_cache_leave_the_data_as_it_is(in_bucket, on_disk, cache):
    local = prepared.open(on_disk)
    assert cache.local(local) is local
    assert opened("", []).local(in_bucket) is in_bucket
