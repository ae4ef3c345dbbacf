"""Errors of stages that run on Beam: those of the stage, as if it ran without Beam."""

import errno
import functools
import sys
from pathlib import Path

import pytest

from teacherlm_jax.errors import MissingFile, StoreError, UserError
from teacherlm_jax.runs import beam
from teacherlm_jax.storage import files, growing
from teacherlm_jax.storage.holders import FolderInUse

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")

MODES = ("in_memory", "multi_threading", "multi_processing")


def run(stage, element, mode):
    """Run a stage with the standard error of a program: pytest's own is not the file number 2."""
    opened = beam.Beam(beam.DIRECT, [f"--direct_running_mode={mode}"], direct_workers=1)
    with open(2, "w", buffering=1, closefd=False) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        opened.run("test", [element], [stage])


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_of_a_worker_is_named_without_the_output_of_beam(mode, capfd):
    stage = functools.partial(growing.append_row, row={})
    with pytest.raises(OSError, match="No space left on device") as error:
        run(stage, Path("/dev/full"), mode)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, "/dev/full")
    assert capfd.readouterr().err == ""


def test_a_missing_file_of_a_worker_process_is_named(tmp_path, capfd):
    with pytest.raises(MissingFile, match=f"^{tmp_path}/a: no such file; restore it or correct"):
        run(files.read_jsonl, tmp_path / "a", "multi_processing")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [UserError, MissingFile, FolderInUse, StoreError])
@pytest.mark.parametrize("sent", [False, True])
def test_an_error_for_users_keeps_its_class_and_message(kind, sent):
    raised = kind("a: wrong; do this [while running 'write 0']")
    if sent:  # by another process
        name = f"{kind.__module__}.{kind.__qualname__}"
        raised = RuntimeError(f"Traceback:\n  File 'b'\n{name}: {raised}\n")
    error = beam._refusal(raised)
    assert (type(error), str(error)) == (kind, "a: wrong; do this")


@pytest.mark.parametrize("name", ["/runs/a", "/it's", 'a "b" \\n', "/a: b"])
@pytest.mark.parametrize("kind", ["OSError", "PermissionError"])
def test_an_error_of_a_file_keeps_its_number_and_name(name, kind):
    number = errno.EDQUOT if kind == "OSError" else errno.EACCES
    text = f"{kind}: {OSError(number, 'Words', name)} [while running 'write 0']"
    for raised in (RuntimeError(text), RuntimeError(f'File "/b.py"\nRuntimeError: {text}\n')):
        error = beam._refusal(raised)
        assert (type(error).__name__, error.errno, error.filename) == (kind, number, name)


@pytest.mark.parametrize("text", ["OSError: [Errno 28] No space left", "KeyError: 'a'", ""])
def test_any_other_error_is_not_taken_for_one_of_a_file(text):
    assert beam._refusal(RuntimeError(text)) is None
