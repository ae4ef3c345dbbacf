import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.safetensors import SafetensorsWriter
from teacherlm_jax.storage.atomic_folder import whole_or_nothing


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with whole_or_nothing(tmp_path / "deep" / "out") as folder:
        (folder.path / "file").write_text("whole")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    def fail():
        with whole_or_nothing(tmp_path / "out") as folder:
            (folder.path / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def killed_at_work(path):
    with whole_or_nothing(path) as folder:
        (folder.path / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_leftovers_of_a_killed_process_are_removed_and_never_used(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=killed_at_work, args=(tmp_path / "out",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    with whole_or_nothing(tmp_path / "out") as folder:
        (folder.path / "file").write_text("whole")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_not_empty_is_refused_and_unchanged(tmp_path):
    (tmp_path / "file").write_text("existing")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="already exists"), whole_or_nothing(place):
            pytest.fail("the block was entered")
    assert (tmp_path / "file").read_text() == "existing"
    with whole_or_nothing(tmp_path / "empty"):
        pass


def test_a_mount_point_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    with (
        pytest.raises(UserError, match="disk: is a mount point.*such as .*/disk/model"),
        whole_or_nothing(tmp_path / "disk"),
    ):
        pytest.fail("the block was entered")
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]


@pytest.mark.parametrize("exists", [True, False])
def test_the_target_of_a_symbolic_link_is_written_and_the_link_stays(tmp_path, exists):
    if exists:
        (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to("there")
    with whole_or_nothing(tmp_path / "out") as folder:
        (folder.path / "file").write_text("whole")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "there"]


def test_all_files_are_synced_before_the_folder_is_renamed(tmp_path, monkeypatch):
    synced = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle)),
    )
    monkeypatch.setattr(
        os, "replace", lambda path, to: (synced.append(f"renamed {path.name}"), replace(path, to))
    )
    with (
        whole_or_nothing(tmp_path / "out") as folder,
        SafetensorsWriter(folder.path / "model.safetensors", {"m": (1,)}, "float32") as writer,
    ):
        writer.write(np.ones(1, np.float32))
    partial = str(tmp_path / ".out.partial")
    assert synced == [f"{partial}/model.safetensors", partial, "renamed .out.partial"]


def test_two_processes_cannot_write_one_folder(tmp_path):
    with whole_or_nothing(tmp_path / "out") as folder:
        (folder.path / "file").write_text("first")
        with (
            pytest.raises(UserError, match="another process is writing it"),
            whole_or_nothing(tmp_path / "out"),
        ):
            pytest.fail("the block was entered")
        assert (folder.path / "file").exists()
    assert (tmp_path / "out" / "file").read_text() == "first"
