"""Files that only one process can create."""

import os

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.create_only import create_bytes, create_jsonl


@pytest.fixture(params=["disk", "bucket", "no hard links"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "bucket":
        return request.getfixturevalue("bucket")
    if request.param == "no hard links":

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_the_first_content_stays(folder):
    assert create_bytes(f"{folder}/inside/a", b"first")
    assert not create_bytes(f"{folder}/inside/a", b"second")
    assert files.read_bytes(f"{folder}/inside/a") == b"first"
    assert files.names(f"{folder}/inside") == ["a"]


def test_rows_are_lines_of_json(folder):
    assert create_jsonl(f"{folder}/rows", [{"a": "ü"}, 1])
    assert files.read_bytes(f"{folder}/rows") == '{"a": "ü"}\n1\n'.encode()
