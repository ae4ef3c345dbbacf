"""The search for folders that have certain files."""

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.folder_search import folders_with
from tests.limited_rights import limited_rights


def never(folder, reason):
    raise AssertionError(f"{folder}: {reason}")


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    return str(tmp_path) if request.param == "disk" else request.getfixturevalue("bucket")


def test_folders_with_any_of_the_files_are_found_and_some_are_not_searched(folder):
    for path in ("a/one", "b/deep/two", "c/three", ".hidden/one", "d/skipped/e/one", "both/one"):
        files.write_text(f"{folder}/{path}", "x")
    files.write_text(f"{folder}/both/two", "x")
    found = folders_with(folder, ("one", "two"), ("skipped",), never)
    assert [str(path) for path in found] == [f"{folder}/{name}" for name in ("a", "b/deep", "both")]


def test_a_folder_that_cannot_be_searched_is_named_with_the_reason(tmp_path):
    for name in ("a", "b"):
        files.write_text(tmp_path / name / "one", "x")
    refused = {}
    (tmp_path / "a").chmod(0)
    try:
        with limited_rights():
            found = folders_with(tmp_path, ("one",), (), refused.__setitem__)
    finally:
        (tmp_path / "a").chmod(0o755)
    assert [str(path) for path in found] == [f"{tmp_path}/b"]
    assert {str(path): why for path, why in refused.items()} == {
        f"{tmp_path}/a": "Permission denied"
    }
