import multiprocessing
import os
import signal

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.folder import whole_or_nothing


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with whole_or_nothing(tmp_path / "deep" / "out") as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    def fail():
        with whole_or_nothing(tmp_path / "out") as folder:
            (folder / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def killed_at_work(path):
    with whole_or_nothing(path) as folder:
        (folder / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_neither_taken_for_whole_nor_kept(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=killed_at_work, args=(tmp_path / "out",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    with whole_or_nothing(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="is there already"), whole_or_nothing(place):
            pytest.fail("the block was entered")
    assert (tmp_path / "file").read_text() == "mine"
    with whole_or_nothing(tmp_path / "empty"):
        pass


def test_two_processes_do_not_fill_one_folder(tmp_path):
    with whole_or_nothing(tmp_path / "out") as folder:
        (folder / "file").write_text("first")
        with (
            pytest.raises(UserError, match="another process is writing it"),
            whole_or_nothing(tmp_path / "out"),
        ):
            pytest.fail("the block was entered")
        assert (folder / "file").exists()
    assert (tmp_path / "out" / "file").read_text() == "first"
