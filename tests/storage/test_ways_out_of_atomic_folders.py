"""Ways out that messages about folders that appear whole or not at all name, taken."""

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


def test_the_folder_in_a_mount_point_that_a_message_names_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(tmp_path))
    named = re.search(r"name a folder in it, such as (\S+)$", refusal(enter, tmp_path))[1]
    enter(Path(named))
    assert (tmp_path / "model" / "file").exists()


def test_a_folder_is_written_after_the_process_that_writes_it_is_stopped(tmp_path):
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
def test_a_folder_that_exists_is_removed_or_another_one_is_named(tmp_path, way):
    path = tmp_path / "out"
    enter(path)
    assert refusal(enter, path) == f"{path}: already exists; remove it, or name another folder"
    if way == "remove it":
        shutil.rmtree(path)
    else:
        path = tmp_path / "another"
    enter(path)
    assert (path / "file").exists()
