"""Files that only one process can create."""

import errno
import os
from pathlib import Path

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.create_only import create_bytes, create_jsonl


@pytest.fixture(params=["disk", "bucket", errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def folder(request, tmp_path, monkeypatch):
    if request.param == "bucket":
        return request.getfixturevalue("bucket")
    if isinstance(request.param, int):  # the answer of a file system without hard links

        def refuse(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_the_first_content_stays(folder):
    assert create_bytes(f"{folder}/inside/a", b"first")
    assert not create_bytes(f"{folder}/inside/a", b"second")
    assert files.read_bytes(f"{folder}/inside/a") == b"first"
    assert files.names(f"{folder}/inside") == ["a"]


def test_a_file_that_does_not_fit_is_not_left_behind(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", full)  # while the named file is written
        with pytest.raises(OSError, match="No space left on device") as error:
            create_bytes(tmp_path / "a", b"first")
    assert error.value.filename == str(tmp_path / "a")
    assert files.names(tmp_path) == []
    assert create_bytes(tmp_path / "a", b"second")


def test_the_file_of_another_process_stays_when_the_name_cannot_be_taken(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    def too_late(path, mode):
        with open(path, "wb") as file:
            file.write(b"of another process")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", too_late)
        with pytest.raises(OSError, match="Input/output error"):
            create_bytes(tmp_path / "a", b"first")
    assert files.read_bytes(tmp_path / "a") == b"of another process"


def test_rows_are_lines_of_json(folder):
    assert create_jsonl(f"{folder}/rows", [{"a": "ü"}, 1])
    assert files.read_bytes(f"{folder}/rows") == '{"a": "ü"}\n1\n'.encode()
