"""Two processes that import into one run folder, on a disk and in a bucket."""

import functools

import pytest

from teacherlm_jax.config import ConvertConfig
from teacherlm_jax.hf import convert as verb
from teacherlm_jax.hf import load
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import folder_lock, objects
from teacherlm_jax.storage.paths import StoragePath


@pytest.fixture
def quick(monkeypatch):
    """Function that sets the times of locks: seconds between heartbeats, and until takeover."""
    acquire = folder_lock.acquire
    return lambda **times: monkeypatch.setattr(
        folder_lock, "acquire", functools.partial(acquire, **times)
    )


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_process_that_is_refused_the_lock_removes_nothing_of_the_other(
    pair_of, save, convert, tmp_path, monkeypatch, request, quick, place
):
    output = StoragePath(tmp_path if place == "disk" else request.getfixturevalue("bucket")) / "out"
    source, open_run, others = save(pair_of("opt")), run_folder.open_run, []
    quick(beat=0.05, stale=5)

    def late(*arguments, **options):
        """Open the run when the other process has begun, just after this one saw no folder."""
        other = open_run(str(output), "convert", ConvertConfig("x", str(output)))
        (other.path / "vocabulary").mkdir()
        (other.path / "vocabulary" / "file").write_text("of the other")
        other.publish()
        others.append(other)
        return open_run(*arguments, **options)

    monkeypatch.setattr(verb.run_folder, "open_run", late)
    status, message = convert(source, output)
    assert (status, "is using this folder" in message) == (2, True)
    others[0].publish()  # it still holds the lock
    others[0].close()
    assert (output / "vocabulary" / "file").read_text() == "of the other"
    assert (output / "config.json").exists()


def test_a_process_that_lost_the_lock_removes_nothing_of_its_successor(
    pair_of, save, convert, bucket, monkeypatch, quick
):
    output, read = f"{bucket}/out", load.load
    quick(stale=0)  # the lock is looked at before each publication

    def overtaken(*arguments):
        objects.put(f"{output}/.lock/2", objects.read(f"{output}/.lock/1"))
        objects.put(f"{output}/checkpoints/0/params", b"of the other")
        return read(*arguments)

    monkeypatch.setattr(load, "load", overtaken)
    status, message = convert(save(pair_of("opt")), output)
    assert status == 2
    assert f"{output}: another process has taken over this folder" in message
    assert objects.read(f"{output}/checkpoints/0/params") == b"of the other"
    assert objects.read(f"{output}/.lock/2") is not None
