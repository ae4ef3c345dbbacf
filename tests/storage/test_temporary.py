"""Temporary folders, and those that killed processes left behind."""

import tempfile

import pytest

from teacherlm_jax.storage.temporary import TemporaryFolder


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Folder of the temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_in_use_is_never_removed(folders):
    first = TemporaryFolder()
    second = TemporaryFolder(pytest.fail)
    assert sorted(folders.iterdir()) == sorted([first.path, second.path])
    first.close()
    assert [*folders.iterdir()] == [second.path]
    second.close()


def test_the_folder_of_a_process_that_is_gone_is_removed_with_a_line(folders):
    said = []
    left = folders / "teacherlm-left"
    left.mkdir()
    (left / ".mark").touch()
    (left / "samples").touch()
    TemporaryFolder(said.append).close()
    assert [*folders.iterdir()] == []
    assert said == [f"{left}: removing the temporary files of a process that was killed"]


def test_a_folder_that_is_kept_is_never_removed(folders):
    kept = TemporaryFolder()
    kept.keep()
    TemporaryFolder(pytest.fail).close()
    assert [*folders.iterdir()] == [kept.path]
