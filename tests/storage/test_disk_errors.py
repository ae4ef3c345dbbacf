"""Disk errors are explained in one line; errors of the program are not."""

import errno
import os

import pytest

from teacherlm_jax.storage import disk_errors, files
from tests.limited_file_size import limited_file_size

SHARED = (errno.ESTALE, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.ENOSPC, errno.EROFS)


@pytest.mark.parametrize("number", SHARED)
def test_an_error_of_a_shared_disk_is_explained_with_and_without_the_file(number):
    text = os.strerror(number)
    with pytest.raises(OSError, match=text) as named, disk_errors.naming("run/log.txt"):
        raise OSError(number, text)
    assert disk_errors.explain(named.value, "run") == f"run/log.txt: {text}"
    assert str(named.value) == f"[Errno {number}] {text}: 'run/log.txt'", "the log file has this"
    assert disk_errors.explain(OSError(number, text), "run") == f"run: {text}"


@pytest.mark.parametrize("number", SHARED)
def test_an_error_of_a_library_that_was_caused_by_a_disk_is_explained(number):
    text = os.strerror(number)
    assert disk_errors.explain(ValueError(f'writing "/d/1": {text}'), "run") == f"/d/1: {text}"
    assert disk_errors.explain(ValueError(f"d/1: {text} [os=1]"), "run") == f"run: {text}"
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = OSError(number, text, "/d/2")
    assert disk_errors.explain(wrapped, "run") == f"/d/2: {text}"


def test_a_block_for_one_file_names_it_in_the_error_of_a_library_but_not_in_a_bug():
    with pytest.raises(OSError, match="File too large") as large, disk_errors.naming("run/rows"):
        raise RuntimeError("write() failed: File too large; writing run/rows; at byte 4096")
    assert disk_errors.explain(large.value, "run") == "run/rows: File too large"
    with pytest.raises(RuntimeError, match="^a bug$"), disk_errors.naming("run/rows"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), OSError("plain words"), OSError(errno.EBADF, "bad"), ValueError("EIO")],
)
def test_errors_of_the_program_are_not_explained_as_disk_errors(error):
    assert disk_errors.explain(error, "run") is None


def test_a_file_that_gets_too_large_is_named_and_keeps_its_old_content(tmp_path):
    path = tmp_path / "result.json"
    files.write_json(path, {"kept": True})
    with limited_file_size(4096), pytest.raises(OSError, match="File too large") as error:
        files.write_text(path, "x" * 10_000)
    assert disk_errors.explain(error.value, "run") == f"{path}: File too large"
    assert files.read_json(path) == {"kept": True}
    assert os.listdir(tmp_path) == ["result.json"]
