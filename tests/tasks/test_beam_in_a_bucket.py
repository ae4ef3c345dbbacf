"""`prepare` on Beam with its run folder and its sources in a bucket."""

import json
import tempfile

import pytest

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import ExplainedError, StoreError, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import objects
from teacherlm_jax.tasks import chunks
from tests.tasks.beam_runs import SMALL, contents, do, make, on_beam, without_times

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def copied(data, bucket):
    """Address of a copy of the sources and the vocabulary."""
    for path in data.rglob("*"):
        if path.is_file():
            objects.upload(path, f"{bucket}/data/{path.relative_to(data)}")
    return f"{bucket}/data"


def published(output, copied, data):
    """Return what `contents` returns for a run on a disk with its sources in `data`."""
    excluded = ("log.txt", "config.json", "versions.json", "throughput.json")
    return {
        name: objects.read(f"{output}/{name}").replace(copied.encode(), str(data).encode())
        for name in sorted(objects.listing(output))
        if not name.startswith(layout.LOCK) and not name.endswith(excluded)
    }


def work(output):
    """Return the names of the objects in the scratch folder of a run."""
    return sorted(objects.listing(f"{output}/{layout.WORK}"))


def leave_work_of_a_killed_run(output):
    for name in ("survey/sources-00000/error.json", "errors/a.json", "tasks/a/chunk-000000.npz"):
        objects.put(f"{output}/{layout.WORK}/{name}", b'"left by a killed run"')


def refusal(config):
    with pytest.raises(ExplainedError) as raised:
        do(config)
    return str(raised.value)


def test_beam_writes_the_same_bytes_in_a_bucket_as_one_process_on_a_disk(
    alone, data, copied, bucket, temporary, monkeypatch
):
    monkeypatch.setattr(chunks, "SIZE", SMALL)
    leave_work_of_a_killed_run(f"{bucket}/run")
    result = do(on_beam(copied, f"{bucket}/run"))
    output, expected = alone
    assert published(f"{bucket}/run", copied, data) == contents(output)
    assert without_times(result)["mixtures"] == without_times(expected)["mixtures"]
    assert work(f"{bucket}/run") == []
    assert [*temporary.iterdir()] == []


def test_a_run_in_a_bucket_continues_from_the_chunks_of_a_worker_that_failed(
    alone, data, copied, bucket, monkeypatch
):
    put, written = objects.put, []

    def fails_late(path, content):
        if "chunk-" in str(path):
            if len(written) == 7:  # in the middle of a task
                raise StoreError(f"{path}: cannot be written: permission denied")
            written.append(str(path))
        put(path, content)

    monkeypatch.setattr(chunks, "SIZE", SMALL)
    monkeypatch.setattr(objects, "put", fails_late)
    message = refusal(on_beam(copied, f"{bucket}/run"))
    assert message.startswith(f"{bucket}/run/{layout.WORK}/tasks/")
    assert message.endswith(".npz: cannot be written: permission denied")
    left = [name for name in work(f"{bucket}/run") if not name.startswith(layout.VOCABULARY)]
    assert [f"{bucket}/run/{layout.WORK}/{name}" for name in left] == sorted(written)

    def never_again(path, content):
        assert str(path) not in written
        put(path, content)

    monkeypatch.setattr(objects, "put", never_again)
    do(on_beam(copied, f"{bucket}/run"))
    assert published(f"{bucket}/run", copied, data) == contents(alone[0])
    assert work(f"{bucket}/run") == []


def test_a_store_that_refuses_everything_from_a_worker_gives_one_message(
    copied, bucket, monkeypatch
):
    put = objects.put

    def fails(path, content):
        if "chunk-" in str(path) or "/errors/" in str(path):
            raise StoreError(f"{path}: cannot be written: permission denied")
        put(path, content)

    monkeypatch.setattr(objects, "put", fails)
    message = refusal(on_beam(copied, f"{bucket}/run"))
    assert message.endswith("/chunk-000000.npz: cannot be written: permission denied")
    assert work(f"{bucket}/run") == []


def test_encoded_texts_that_cannot_be_read_back_give_one_message(copied, bucket, monkeypatch):
    read = objects.read

    def fails(path):
        if "chunk-" in str(path):
            raise StoreError(f"{path}: cannot be read: permission denied")
        return read(path)

    monkeypatch.setattr(objects, "read", fails)
    message = refusal(on_beam(copied, f"{bucket}/run"))
    assert message.startswith(f"{bucket}/run/{layout.WORK}/tasks/")
    assert message.endswith("/chunk-000000.npz: cannot be read: permission denied")


def test_a_check_in_a_bucket_names_unusable_sources_by_addresses(copied, bucket, temporary):
    bad = (*make(copied, "").sources, SourceConfig("bad", "asked.jsonl"))
    reports = []
    for name, config in (("alone", make), ("beam", on_beam)):
        output = f"{bucket}/{name}"
        leave_work_of_a_killed_run(output)
        objects.remove(f"{output}/{layout.WORK}/tasks/a/chunk-000000.npz")
        message = refusal(config(copied, output, sources=bad, check_only=True))
        assert f"see {output}/refused.jsonl for all of them ({output}/check.json lists" in message
        report = objects.read(f"{output}/check.json").decode()
        assert f"see {output}/refused.jsonl" in json.loads(report)["survey"]["unusable"]["bad"]
        reports.append((report.replace(output, ""), objects.read(f"{output}/refused.jsonl")))
        assert work(output) == []
    assert reports[0] == reports[1]
    assert [*temporary.iterdir()] == []


def test_workers_that_do_not_see_the_bucket_are_reported(copied, bucket, monkeypatch):
    monkeypatch.setattr(Beam, "run", lambda *args: None)
    assert refusal(on_beam(copied, f"{bucket}/run")) == (
        f"{bucket}/run/{layout.WORK}/survey/sources-00000: DirectRunner finished but did not write "
        "it; check that the workers use the same store and account as this process"
    )


def test_a_process_that_lost_its_run_folder_leaves_the_work_of_the_next_one(
    copied, bucket, monkeypatch
):
    on_workers = Beam.run

    def lost(run):
        raise UserError("another process has taken over this run folder")

    def overtaken(*args):
        on_workers(*args)
        monkeypatch.setattr(Run, "publish", lost)

    monkeypatch.setattr(Beam, "run", overtaken)
    message = refusal(on_beam(copied, f"{bucket}/run", check_only=True))
    assert message == "another process has taken over this run folder"
    assert "survey/sources-00000/source.json" in work(f"{bucket}/run")
