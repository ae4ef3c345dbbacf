"""Paths in stores, and what a process that uses the package can do with stores beside it."""

import contextlib
import errno
import logging
import os
import pickle
import subprocess
import sys

import pytest
from etils import epath

from teacherlm_jax.errors import ExplainedError, StoreError
from teacherlm_jax.storage import files, folder_search, locations, paths
from teacherlm_jax.storage.gcs_client import BucketClient
from teacherlm_jax.storage.paths import StoragePath

_BESIDE = """
import logging, sys
import fsspec
import teacherlm_jax.api, teacherlm_jax.pipelines.quickstart
from teacherlm_jax.checkpoints import store
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.paths import StoragePath

folder = sys.argv[1]
files.write_json(StoragePath(folder) / "a.json", {})
assert files.read_json(f"{folder}/a.json") == {}
assert [path.name for path in StoragePath(folder).iterdir()] == ["a.json"]

import gcsfs
assert fsspec.get_filesystem_class("gs") is fsspec.get_filesystem_class("gcs")
assert fsspec.get_filesystem_class("gs") is gcsfs.GCSFileSystem
users = fsspec.filesystem("gs")
assert type(users) is gcsfs.GCSFileSystem and users.dircache.use_listings_cache
assert {logging.getLogger(name).level for name in ("gcsfs", "fsspec", "fsspec.prefetcher")} == {0}
assert fsspec.open(f"{folder}/a.json").open().read() == b"{}\\n"
try:
    users.cat_file(f"{folder}/none")
except FileNotFoundError as error:
    assert "No such object" not in str(error), error
else:
    raise AssertionError("there is no such object")
"""


def test_other_users_of_stores_in_the_process_keep_their_client(bucket):
    environment = {**os.environ, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}  # no second service
    done = subprocess.run(
        [sys.executable, "-c", _BESIDE, bucket], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


DERIVED = {
    "joined": lambda path: path / "a" / "b",
    "parent": lambda path: path.parent,
    "joinpath": lambda path: path.joinpath("a"),
    "with_name": lambda path: path.with_name("a"),
    "with_suffix": lambda path: path.with_suffix(".a"),
    "epath": lambda path: epath.Path(path),
    "pickled": lambda path: pickle.loads(pickle.dumps(path)),
    "absolute": locations.absolute,
    "under": lambda path: locations.under(path, "a"),
}


@pytest.mark.parametrize("name", DERIVED)
def test_paths_that_are_derived_from_a_path_have_its_client(name):
    derived = DERIVED[name](StoragePath("gs://bucket/folder"))
    assert type(derived) is StoragePath
    assert isinstance(derived._backend.fs(derived), BucketClient)


def test_paths_that_a_store_lists_have_its_client(bucket):
    files.write_text(f"{bucket}/a.txt", "")
    listed = [
        *StoragePath(bucket).iterdir(),
        *StoragePath(bucket).glob("*.txt"),
        *locations.expand(bucket, "*.txt"),
        *folder_search.folders_with(bucket, ("a.txt",), (), lambda folder, reason: None),
    ]
    assert [(type(path), str(path)) for path in listed] == [
        *[(StoragePath, f"{bucket}/a.txt")] * 3,
        (StoragePath, bucket),
    ]


def test_a_path_on_this_machine_needs_no_client(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "client", None)
    path = StoragePath("gs://bucket/a") / tmp_path / "b"
    path.write_text("content")
    assert (tmp_path / "b").read_text() == "content"
    assert [str(entry) for entry in StoragePath(tmp_path).iterdir()] == [str(path)]


@pytest.mark.parametrize("name", ["gcsfs", "fsspec.prefetcher"])
def test_only_errors_that_the_client_raises_are_left_out_of_the_log(name, caplog):
    paths.client("gs://bucket")
    missing = FileNotFoundError(errno.ENOENT, "ours", "gs://bucket/a")
    for error in (StoreError("ours"), missing, FileNotFoundError("bucket/a"), OSError("theirs")):
        try:
            raise error
        except (StoreError, OSError):
            logging.getLogger(name).exception("failed")
        logging.getLogger(name).error("failed: %s", error)
    assert [record.getMessage() for record in caplog.records] == [
        *("failed", "failed: bucket/a"),
        *("failed", "failed: theirs"),
    ]


@pytest.mark.parametrize("answer", [503, 404])
def test_an_error_while_a_file_is_read_is_raised_and_not_logged(bucket, proxy, caplog, answer):
    files.write_bytes(f"{bucket}/a", bytes(20_000_000))
    with contextlib.suppress(ExplainedError), files.opened(f"{bucket}/a") as file:
        file.read(1)
        proxy.fail(answer)
        file.read()
        raise AssertionError("the rest was read")
    assert not [record.name for record in caplog.records if record.levelno > logging.INFO]
