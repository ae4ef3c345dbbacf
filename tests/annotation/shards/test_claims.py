"""Claims on shards: one process gets each, and those of a process that is gone are free."""

import pytest

from teacherlm_jax.annotation.shards.claims import ShardClaims
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    return request.getfixturevalue("bucket") if request.param == "bucket" else tmp_path


@pytest.fixture
def process(folder):
    """Function that makes the claims and heartbeat of one process."""
    joined = []

    def join():
        joined.append(Workers(StoragePath(folder) / "workers", print))
        joined[-1].join()
        return ShardClaims(StoragePath(folder) / "claims", joined[-1]), joined[-1]

    yield join
    for workers in joined:
        workers.leave()


def test_one_of_two_processes_gets_a_claim(process):
    (first, _), (second, _) = process(), process()
    assert first.take("a")
    assert second.held() == {"a"}
    assert second.take("b")
    assert first.held() == second.held() == {"a", "b"}
    first.release("a")
    assert second.held() == {"b"}


def test_two_processes_that_claim_at_the_same_time_cannot_both_succeed(process, monkeypatch):
    (first, _), (second, _) = process(), process()
    monkeypatch.setattr(first, "_numbers", dict)  # listed before the other one's claim
    assert second.take("a")
    assert not first.take("a")


def test_a_claim_that_another_process_made_since_a_look_is_not_taken_over(folder, process):
    (first, _), (second, _) = process(), process()
    assert first.held() == set()
    assert second.take("a")
    assert not first.take("a")
    assert files.names(StoragePath(folder) / "claims") == ["a.1"]


def test_a_claim_of_a_process_that_is_gone_is_taken_over(folder, process):
    (first, gone), (second, _) = process(), process()
    assert first.take("a")
    gone.leave()
    assert second.held() == set()
    assert second.take("a")
    assert second.held() == {"a"}
    second.release_all()
    assert files.names(StoragePath(folder) / "claims") == ["a.1"]
    assert second.held() == set()
    second.remove_gone()
    assert files.names(StoragePath(folder) / "claims") == []


def test_a_claim_that_was_released_and_taken_again_is_that_of_its_new_process(process):
    (first, gone), (second, _), (third, _) = process(), process(), process()
    assert first.take("a")
    assert second.held() == {"a"}  # it has read whose claim this is
    first.release_all()
    gone.leave()
    assert third.take("a")
    assert second.held() == {"a"}


def test_a_claim_that_is_released_while_it_is_read_is_free(process, monkeypatch):
    (first, _), (second, _) = process(), process()
    assert first.take("a")
    listed = second._numbers()
    first.release("a")
    monkeypatch.setattr(second, "_numbers", lambda: listed)
    assert second.held() == set()


def test_a_process_whose_claim_was_taken_over_still_holds_it_when_it_goes_on(
    folder, process, monkeypatch
):
    (paused, sleeper), (second, _), (third, _) = process(), process(), process()
    assert paused.take("a")
    with monkeypatch.context() as asleep:
        asleep.setattr(Workers, "_is_alive", lambda self, name: name != sleeper.own)
        assert second.held() == set()
        assert second.take("a")
        second.release("a")
    assert files.names(StoragePath(folder) / "claims") == ["a.1"]
    assert second.held_by_others() == third.held_by_others() == {"a"}
    paused.release("a")
    assert third.held_by_others() == set()
    assert files.names(StoragePath(folder) / "claims") == []


def test_a_claim_whose_content_is_being_written_is_held_for_a_while(folder, process, monkeypatch):
    (claims, _), (_, other) = process(), process()
    files.write_bytes(StoragePath(folder) / "claims" / "a.1", b"")
    assert claims.held() == {"a"}
    with monkeypatch.context() as later:
        later.setattr("teacherlm_jax.annotation.shards.claims._WRITE_SECONDS", 0.0)
        assert claims.held() == set(), "a process was killed before it wrote the content"
    other.leave()
    assert claims.held() == set(), "nobody else can be writing it"


def test_claims_of_dead_processes_are_not_read_again_at_each_look(process, monkeypatch):
    (first, gone), (second, _) = process(), process()
    for name in "abc":
        assert first.take(name)
    gone.leave()
    reads, read_json = [], files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: reads.append(path.name) or read_json(path))
    for _ in range(5):
        assert second.held() == set()
    assert len([name for name in reads if name.endswith(".1")]) <= 2 * 3


def test_the_claims_of_others_are_those_of_living_processes(process):
    (first, _), (second, gone), (third, _) = process(), process(), process()
    assert first.take("a") and second.take("b") and third.take("c")
    assert first.held_by_others() == {"b", "c"}
    gone.leave()
    assert first.held_by_others() == {"c"}


def test_only_claims_of_processes_that_are_gone_are_removed(folder, process):
    (first, own), (second, gone), (third, _) = process(), process(), process()
    assert first.take("a") and second.take("b") and third.take("c")
    unfinished = StoragePath(folder) / "claims" / ".d.1.x"
    files.write_bytes(unfinished, b"")
    gone.leave()
    third.remove_gone()
    assert files.names(StoragePath(folder) / "claims") == [".d.1.x", "a.1", "c.1"]
    own.leave()
    third.remove_gone()
    assert files.names(StoragePath(folder) / "claims") == ["c.1"]


def test_claims_that_a_store_does_not_remove_do_not_hide_why_the_process_ends(
    bucket, proxy, monkeypatch
):
    monkeypatch.setattr(objects, "PATIENCE", 0.05)
    workers = Workers(StoragePath(bucket) / "workers", print)
    claims = ShardClaims(StoragePath(bucket) / "claims", workers)
    assert claims.take("a") and claims.take("b")
    fault = proxy.fail(403, "remove")
    claims.release_all()
    assert fault.failed == 2 and files.names(StoragePath(bucket) / "claims") == ["a.1", "b.1"]
    proxy.clear()
    other = ShardClaims(StoragePath(bucket) / "claims", Workers(workers._folder, print))
    assert other.held() == set() and other.take("a") and other.take("b")
    other.release_all()
    other.remove_gone()
    assert files.names(StoragePath(bucket) / "claims") == []
