"""Following the advice of messages about folders that appear complete or not at all."""

import os
import re
import shutil
from pathlib import Path

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage.atomic_folder import whole_or_nothing


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def enter(path):
    with whole_or_nothing(path) as folder:
        (folder.path / "file").touch()


def test_the_suggested_folder_in_a_mount_point_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(tmp_path))
    named = re.search(r"name a folder in it, such as (\S+)$", refusal(enter, tmp_path))[1]
    enter(Path(named))
    assert (tmp_path / "model" / "file").exists()


def test_stopping_the_other_process_works(tmp_path):
    path = tmp_path / "out"

    def stopped():
        with whole_or_nothing(path):
            assert refusal(enter, path).endswith("wait for it or stop it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    enter(path)
    assert (path / "file").exists()


@pytest.mark.parametrize("way", ["remove it", "name another folder"])
def test_removing_the_folder_or_naming_another_one_works(tmp_path, way):
    path = tmp_path / "out"
    enter(path)
    assert refusal(enter, path) == f"{path}: already exists; remove it, or name another folder"
    if way == "remove it":
        shutil.rmtree(path)
    else:
        path = tmp_path / "another"
    enter(path)
    assert (path / "file").exists()
