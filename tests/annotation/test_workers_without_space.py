"""One of several workers whose disk is full, or whose store refuses: the others lose nothing."""

import dataclasses
import errno
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from teacherlm_jax.annotation import session
from teacherlm_jax.cli.main import main
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath
from tests.full_disk import FullDisk

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return {config!r}
"""
AFTER = 3  # the row of the first worker that meets the fault; a shard has two


@pytest.fixture
def config(make_config, teachers):
    """Settings by which a worker claims one shard after the other."""
    made = make_config(cot=teachers[0])
    return dataclasses.replace(made, rows_per_shard=2, slots=1, gates=("finished", "not_duplicate"))


pytestmark = pytest.mark.usefixtures("stubbed")


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    """Put temporary folders into one of the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def expected(config, tmp_path):
    """The files that one worker writes."""
    output = str(tmp_path / "alone")
    verbs.run("annotate", dataclasses.replace(config, output=output))
    return contents(output)


def contents(output):
    """Return the bytes of the finished files of a run, by path."""
    folders = ("texts/cot", "samples", "sketches/cot", "counts/cot", "counts/samples", "shards")
    return {
        f"{folder}/{name}": files.read_bytes(StoragePath(output) / folder / name)
        for folder in folders
        for name in files.names(StoragePath(output) / folder)
    }


class _OtherWorker:
    """A worker in a thread, which pauses when all that is left is claimed by others."""

    def __init__(self, config, patch):
        self.idle, self.may_go_on = threading.Event(), threading.Event()
        self.result, self.error = None, None
        self._config = config
        self._thread = threading.Thread(target=self._work)
        patch.setattr(session, "time", SimpleNamespace(sleep=self._pause, time=time.time))

    def run_until_idle(self):
        self._thread.start()
        assert self.idle.wait(30), self.error

    def finish(self):
        self.may_go_on.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _pause(self, seconds):
        self.idle.set()
        assert self.may_go_on.wait(30)

    def _work(self):
        try:
            self.result = verbs.run("annotate", self._config)
        except Exception as error:
            self.error = error


@pytest.fixture
def command(config, tmp_path, capsys, monkeypatch):
    """Function that runs the command; returns its status, lines of errors, and what it printed."""

    def run(output):
        path = tmp_path / "config.py"
        path.write_text(CONFIG.format(config=dataclasses.replace(config, output=output)))
        capsys.readouterr()
        monkeypatch.setattr(objects, "PATIENCE", 0.05)
        status = main(["annotate", f"--config={path}"])
        shown = capsys.readouterr()
        return status, shown.err.splitlines(), shown.out

    return run


@pytest.fixture
def two_workers(config, monkeypatch, at_row, command):
    """Function that runs a worker until a fault ends it, beside another one."""

    def run(output, fill, clear):
        other = _OtherWorker(dataclasses.replace(config, output=output), monkeypatch)

        def fault():
            other.run_until_idle()
            fill()

        written = at_row(AFTER, fault)
        status, errors, _ = command(output)
        held = files.names(StoragePath(output) / layout.CLAIMS)
        clear()
        other.finish()
        assert other.result is not None or other.error is not None
        assert len(errors) == 1, errors
        return SimpleNamespace(
            status=status, line=errors[0], held=held, written=written, other=other
        )

    return run


NAMES = {
    r"texts/cot/part-\d+\.jsonl\.partial": "a line of a partial file",
    r"texts/cot/\.part-\d+\.jsonl\.": "a complete file",
    r"sketches/": "what a gate reads later",
    r"counts/cot": "figures",
    r"samples/\.": "samples",
    "": "every file",
}


@pytest.mark.parametrize("pattern", NAMES, ids=NAMES.values())
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_another_worker_finishes_the_shard_of_one_whose_disk_is_full(
    two_workers, command, expected, tmp_path, monkeypatch, pattern, number
):
    output, disk = str(tmp_path / "run"), FullDisk(monkeypatch)
    ended = two_workers(output, lambda: disk.fill(pattern, number), disk.clear)
    reason = "No space left on device" if number == errno.ENOSPC else "Disk quota exceeded"
    assert ended.status == 2
    named = pattern.replace(r"\.part-\d+\.jsonl\.", r"part-\d+\.jsonl").removesuffix(r"\.")
    named = named or r"texts/cot/part-\d+\.jsonl\.partial"  # the first that was refused
    assert re.fullmatch(
        f"teacherlm: {output}/{named}.*: {reason}; finished work is intact: correct this, or set "
        "another config.output, then repeat the command",
        ended.line,
    )
    assert ended.held == [], "the claim can be taken"
    assert ended.other.error is None and ended.other.result["rows"] == 11
    assert contents(output) == expected
    assert len(ended.written) == len(set(ended.written)) == 11, "no text is lost"
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected


@pytest.mark.parametrize("pattern", ["", "claims/"])
def test_workers_that_all_have_a_full_disk_are_repeated_with_the_same_bytes(
    two_workers, command, expected, tmp_path, monkeypatch, pattern
):
    output, disk = str(tmp_path / "run"), FullDisk(monkeypatch)
    ended = two_workers(output, lambda: disk.fill(r"\.partial"), lambda: disk.fill(pattern))
    assert ended.status == 2 and "No space left on device" in ended.line
    assert isinstance(ended.other.error, OSError) and ended.other.error.errno == errno.ENOSPC
    assert ended.other.error.filename.startswith(f"{output}/claims/")
    disk.clear()
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected
    assert len(ended.written) == len(set(ended.written)) == 11, "no text is lost"


@pytest.mark.parametrize("answer", [403, 507])
def test_another_worker_finishes_the_shard_of_one_that_the_store_refuses(
    two_workers, command, expected, bucket, proxy, answer
):
    output = f"{bucket}/run"
    ended = two_workers(output, lambda: proxy.fail(answer, "write"), proxy.clear)
    assert ended.status == 2
    reason = "permission denied" if answer == 403 else "the store has no space left"
    assert re.match(rf"teacherlm: {output}/texts/cot/part-\d+\.jsonl: cannot be", ended.line)
    assert reason in ended.line
    assert ended.held == [], "the claim can be taken"
    assert ended.other.error is None and ended.other.result["rows"] == 11
    assert contents(output) == expected
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected


def test_workers_that_a_store_refuses_are_repeated_with_the_same_bytes(
    two_workers, command, expected, bucket, proxy
):
    output = f"{bucket}/run"
    ended = two_workers(output, lambda: proxy.fail(403, "write"), lambda: None)
    assert f"{output}/claims/" in str(ended.other.error)
    proxy.clear()
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected


def partial_files(folder):
    """Return the partial files in a folder that a command has kept."""
    return list(Path(folder).rglob("*.partial"))


@pytest.mark.parametrize(("answer", "copy"), [(403, False), (403, True), (503, False), (507, True)])
def test_explanations_that_a_store_refuses_stay_on_this_machine_and_are_named(
    command, at_row, expected, bucket, proxy, answer, copy
):
    output = f"{bucket}/run"
    written = at_row(AFTER, lambda: proxy.fail(answer, "write"))
    status, (line,), _ = command(output)
    assert status == 2 and line.startswith(f"teacherlm: {output}/texts/cot/part-0000")
    kept = re.search(r"; explanations that are not in the bucket yet are in (\S+): copy", line)
    assert f"gcloud storage cp --recursive {kept[1]}/bucket/* gs://bucket/" in line
    proxy.clear()
    assert len(files.names(f"{output}/texts/cot")) == 1
    if copy:
        for path in partial_files(kept[1]):
            objects.upload(path, f"gs://{path.relative_to(kept[1])}")
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected
    assert len(set(written)) == 11
    assert len(written) == (11 if copy else 13), "texts that were copied are not generated again"


def test_a_worker_that_is_stopped_while_its_store_refuses_names_what_is_not_there(
    command, at_row, expected, bucket, proxy
):
    def stopped():
        proxy.fail(403, "write")
        os.kill(os.getpid(), signal.SIGTERM)

    output = f"{bucket}/run"
    at_row(AFTER + 1, stopped)
    status, (line,), shown = command(output)
    assert status == 128 + signal.SIGTERM
    assert line.startswith("teacherlm: SIGTERM: stopped with 3 of 11 explanations")
    kept = re.search(r"; explanations that are not in the bucket yet are in (\S+): copy", shown)
    assert partial_files(kept[1])
    proxy.clear()
    assert command(output)[:2] == (0, [])
    assert contents(output) == expected
