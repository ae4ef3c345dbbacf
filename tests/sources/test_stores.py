"""Files in a store, which are read like files on this machine."""

import glob
import hashlib
import os
from pathlib import Path

import pytest
from gcsfs.retry import HttpError

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import files, objects, paths

from .row_files import KINDS, ROWS, read, values, write
from .test_saved_datasets import write_dataset


class StoreFile:
    """A file that has only the methods which each client's files have."""

    def __init__(self, path):
        self._file = Path(path).open("rb")  # noqa: SIM115 (closed below)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def read(self, count):
        return self._file.read(count)

    def seek(self, offset, whence=os.SEEK_SET):
        self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()


class Stub:
    """A client whose bucket gs://bucket is a folder on this machine."""

    def __init__(self, folder):
        self._folder = str(folder)

    def local(self, path):
        assert str(path).startswith("gs://bucket")
        return str(path).replace("gs://bucket", self._folder, 1)

    def open(self, path, mode):
        assert mode == "rb"
        if "secret" in str(path):
            raise HttpError({"code": 403, "message": "no"})
        return StoreFile(self.local(path))

    def exists(self, path):
        return os.path.exists(self.local(path))

    def isdir(self, path):
        if "forbidden" in str(path):
            raise HttpError({"code": 401, "message": "no"})
        return os.path.isdir(self.local(path))

    def glob(self, pattern):
        names = glob.glob(self.local(pattern))
        return [name.replace(self._folder, "gs://bucket", 1) for name in names]


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The folder that stands for gs://bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    stub = Stub(folder)
    monkeypatch.setattr(paths, "_CLIENTS", stub)
    monkeypatch.setattr(objects, "read", lambda path: Path(stub.local(path)).read_bytes())
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_files_in_a_store_are_read_like_those_on_this_machine(bucket, name):
    write(bucket / name)
    (bucket / "deep").mkdir()
    write(bucket / "deep" / name, ROWS[:1])
    assert values("gs://bucket", name) == ROWS
    assert [location for location, _ in read("", f"gs://bucket/*/{name}")] == [
        (f"gs://bucket/deep/{name}", 1)
    ]
    digest = hashlib.sha256((bucket / name).read_bytes()).hexdigest()
    assert files.file_digest(f"gs://bucket/{name}") == f"sha256:{digest}"


def test_a_saved_dataset_in_a_store_is_read(bucket):
    write_dataset(bucket / "saved", [ROWS[:3], ROWS[3:]])
    assert values("gs://bucket", "saved") == ROWS
    assert values("somewhere/else", "gs://bucket/saved") == ROWS


def test_missing_and_forbidden_files_of_a_store_are_named(bucket):
    with pytest.raises(UserError, match="gs://bucket/none.jsonl: no file matches"):
        read("gs://bucket", "none.jsonl")
    write(bucket / "secret.jsonl")
    with pytest.raises(
        StoreError, match="gs://bucket/secret.jsonl: cannot be read: permission denied"
    ):
        read("gs://bucket", "secret.jsonl")
    with pytest.raises(
        StoreError, match="gs://bucket/forbidden/.*: cannot be read: no valid credentials"
    ):
        read("gs://bucket/forbidden", "*.jsonl")
