"""Run folders that several processes share, on a disk and in a bucket."""

import errno
import fcntl
import threading
import time

import pytest

from teacherlm_jax.config import AnnotateConfig, SourceConfig, TeachersConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import run_folder, run_place
from teacherlm_jax.storage import files, folder_lock
from teacherlm_jax.storage.holders import FolderInUse
from teacherlm_jax.storage.paths import StoragePath


@pytest.fixture(params=["disk", "bucket"])
def output(request, tmp_path):
    folder = request.getfixturevalue("bucket") if request.param == "bucket" else tmp_path
    return f"{folder}/run"


@pytest.fixture
def join(output):
    """Function that opens the shared folder as one more process."""

    def opened(**settings):
        source, teachers = SourceConfig("toys", "toys.jsonl"), TeachersConfig(cot="teacher")
        config = AnnotateConfig(output=output, source=source, teachers=teachers, **settings)
        return run_folder.open_run(output, "annotate", config, may_change=("slots",), shared=True)

    return opened


def test_a_second_process_joins_with_a_log_of_its_own(join, output, capsys):
    with join() as first, join(slots=8) as second:
        assert second.workers.others() == [first.workers.own]
        assert "1 other worker is at work in this folder" in capsys.readouterr().out
        recorded = files.read_json(f"{output}/config.json")
        assert recorded["config"]["slots"] == 64, "the settings of the first"
        first.log.info("from the first")
        second.log.info("from the second")
        (StoragePath(output) / "texts").mkdir(parents=True, exist_ok=True)
        files.write_bytes(f"{output}/texts/a", b"work")
        second.finish({"rows": 1})
        assert first.result == {"rows": 1}
        own = f"log-{second.workers.own}.txt"
    assert b"from the first" in files.read_bytes(f"{output}/log.txt")
    assert b"from the second" in files.read_bytes(f"{output}/{own}")
    assert files.names(f"{output}/workers") == []


def test_all_lists_of_refused_rows_of_a_process_are_where_the_run_is(join, output):
    with join() as run:
        files.write_bytes(f"{output}/texts/a", b"work")
        for name in ("refused.jsonl", "cot.refused.jsonl"):
            (run.path / name).write_text("{}\n")
    assert files.read_bytes(f"{output}/refused.jsonl") == b"{}\n"
    assert files.read_bytes(f"{output}/cot.refused.jsonl") == b"{}\n"


def test_a_process_that_waits_creates_a_folder_again_that_another_one_removed(
    tmp_path, monkeypatch
):
    place, acquire, held = run_place.open_shared_place(f"{tmp_path}/run"), folder_lock.acquire, []

    def refused_first(lock, say=print):
        if not held:
            held.append(lock)
            (tmp_path / "run").rmdir()  # by the holder, which was refused
            raise FolderInUse("run: another process is using this folder; wait for it")
        return acquire(lock, say=say)

    monkeypatch.setattr(folder_lock, "acquire", refused_first)
    with place.alone():
        assert (tmp_path / "run" / ".lock").exists()


def test_a_disk_without_locks_is_named_once(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    place, said = run_place.open_shared_place(f"{tmp_path}/run"), []
    place.say = said.append
    monkeypatch.setattr(fcntl, "flock", unsupported)
    for _ in range(2):
        with place.alone():
            pass
    assert len(said) == 1 and "this file system has no locks" in said[0]


def test_other_settings_are_refused_while_a_process_is_at_work_even_without_results(join, output):
    with join():
        with pytest.raises(UserError, match="started with config.seed=0, but now config.seed=1"):
            join(seed=1)
        assert files.exists(f"{output}/config.json"), "the first process still needs it"
    with join(seed=1):
        assert files.read_json(f"{output}/config.json")["config"]["seed"] == 1


def test_a_refused_process_leaves_nothing_when_it_is_alone(join, output):
    def refused():
        with join() as run:
            files.write_bytes(f"{output}/shards/part-00000.jsonl", b"{}")
            files.write_json(f"{output}/job.json", {})
            run.log.info("a line")
            raise UserError("no such source; choose another")

    with pytest.raises(UserError, match="no such source"):
        refused()
    assert files.names(output) == []


def test_one_process_waits_while_another_is_alone(join):
    order = []
    with join() as first, join() as second:

        def wait():
            with second.alone():
                order.append("second")

        waiting = threading.Thread(target=wait)
        with first.alone():
            waiting.start()
            time.sleep(0.3)
            order.append("first")
        waiting.join(30)
    assert order == ["first", "second"]
