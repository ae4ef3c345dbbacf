"""Beam workers whose disk is full, or whose store refuses: one error, and nothing is lost."""

import errno
import re
import tempfile
from pathlib import Path

import pytest

from teacherlm_jax.annotation import job_on_beam
from teacherlm_jax.cli.main import main
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath
from tests.full_disk import FullDisk

from .beam_jobs import annotate, contents, on_beam

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")
pytestmark = pytest.mark.usefixtures("stubbed", "no_kept_teacher")

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return {config!r}
"""


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    """One shard per batch, and temporary folders in one of the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(job_on_beam, "_TEXTS_PER_SLOT", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def config(make_config, teachers):
    """Settings of a job with two teachers and three shards."""
    return make_config(cot=teachers[0], mistake=teachers[1])


@pytest.fixture
def command(config, tmp_path, capfd, monkeypatch):
    """Function that runs the command on Beam; returns its status, and the lines of its errors."""

    def run(output):
        path = tmp_path / "config.py"
        path.write_text(CONFIG.format(config=on_beam(config, output)))
        capfd.readouterr()
        monkeypatch.setattr(objects, "PATIENCE", 0.05)
        status = main(["annotate", f"--config={path}"])
        return status, capfd.readouterr().err.splitlines()

    return run


NAMES = {
    r"texts/cot/part-\d+\.jsonl\.partial": "a line of a partial file",
    r"texts/cot/\.part-\d+\.jsonl\.": "a complete file",
    r"counts/": "figures",
    r"samples/\.": "samples",
    r"\.work/written": "a report to the process that plans",
    "": "every file",
}


@pytest.mark.parametrize("pattern", NAMES, ids=NAMES.values())
def test_a_full_disk_ends_the_command_with_one_line_and_the_same_bytes_later(
    command, config, at_row, tmp_path, monkeypatch, pattern
):
    annotate(config, tmp_path / "alone")
    output, disk = tmp_path / "beam", FullDisk(monkeypatch)
    written = at_row(6, lambda: disk.fill(pattern, errno.EDQUOT))
    status, errors = command(output)
    assert status == 2 and len(errors) == 1, errors
    assert re.fullmatch(
        f"teacherlm: {output}/.*: Disk quota exceeded; finished work is intact: correct this, or "
        "set another config.output, then repeat the command",
        errors[0],
    )
    named = errors[0].partition(": ")[2].partition(": ")[0]
    assert named == disk.refused[0] or f"/.{named.rpartition('/')[2]}." in disk.refused[0]
    disk.clear()
    assert command(output) == (0, [])
    assert contents(output) == contents(tmp_path / "alone")
    assert len(written) == len(set(written)) == 22, "no text is lost"
    assert not (output / ".work").exists()


@pytest.mark.parametrize("answer", [403, 507])
def test_a_store_that_refuses_ends_the_command_with_one_line_and_the_same_bytes_later(
    command, config, at_row, tmp_path, bucket, proxy, answer
):
    annotate(config, tmp_path / "alone")
    output = StoragePath(f"{bucket}/run")
    written = at_row(6, lambda: proxy.fail(answer, "write"))
    status, errors = command(output)
    assert status == 2 and len(errors) == 1, errors
    reason = "permission denied" if answer == 403 else "the store has no space left"
    assert re.match(f"teacherlm: {output}/.*: cannot be written: {reason}", errors[0])
    kept = re.search(r"; explanations that are not in the bucket yet are in (\S+): copy", errors[0])
    assert list(Path(kept[1]).rglob("*.partial"))
    proxy.clear()
    objects.remove_folder(output / layout.LOCK)  # otherwise this process, which lives, holds it
    assert command(output) == (0, [])
    assert len(set(written)) == 22
    expected = contents(tmp_path / "alone")
    assert {name: files.read_bytes(output / name) for name in expected} == expected
