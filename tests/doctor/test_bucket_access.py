"""Access to a bucket, with failures on cue."""

import re

import pytest

from teacherlm_jax.doctor import bucket_access, clocks
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files, folder_lock, objects
from teacherlm_jax.storage.paths import StoragePath


def examined(folder):
    return {finding.name: finding for finding in bucket_access.examine(folder)}


def test_every_kind_of_request_is_tried_and_timed(bucket):
    findings = examined(bucket)
    assert {name: finding.verdict for name, finding in findings.items()} == dict.fromkeys(
        ("bucket", "bucket: create", "bucket: list", *bucket_access._OF_OBJECT), "ok"
    )
    assert all(finding.figures["seconds"] >= 0 for finding in findings.values())
    assert all(re.search(r"in \d+ ms$", finding.text) for finding in findings.values())
    assert not objects.listing(bucket)


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        ("write", {"bucket: create"}),
        ("read", {"bucket: read", "bucket: create again"}),  # which reads the first
        ("list", {"bucket: list"}),
        ("remove", {"bucket: delete"}),
        ("bucket", {"bucket"}),
    ],
)
def test_a_missing_permission_is_named_with_the_role_that_has_it(proxy, bucket, kind, failing):
    proxy.fail(403, kind)
    findings = examined(bucket)
    refused = {name for name, one in findings.items() if one.verdict == "problem"}
    assert failing <= refused <= failing | {"bucket: delete"}  # which reads, too
    for name in refused:
        assert "permission denied" in findings[name].text, findings[name]
        assert "roles/storage.objectUser" in findings[name].remedy
    if kind == "write":
        assert {findings[name].verdict for name in bucket_access._OF_OBJECT} == {"skipped"}
    if kind != "remove":
        proxy.clear()
        assert not objects.listing(bucket)


def test_a_bucket_that_does_not_exist_is_a_problem_of_each_request(bucket):
    findings = examined("gs://no-such-bucket/runs")
    assert (
        findings["bucket"].text
        == "gs://no-such-bucket/runs: there is no bucket gs://no-such-bucket"
    )
    assert "create it, or correct the name" in findings["bucket"].remedy
    assert findings["bucket: create"].verdict == "problem"


def test_a_store_that_answers_slowly_is_a_warning(proxy, bucket, monkeypatch):
    monkeypatch.setattr(bucket_access, "_SLOW", 0.2)
    proxy.fail("", "list", delay=0.3)
    finding = examined(bucket)["bucket: list"]
    assert finding.verdict == "warning" and "region" in finding.remedy


def test_a_store_that_creates_an_object_twice_is_a_problem(bucket, monkeypatch):
    """Locks and claims of shards rely on creation."""
    monkeypatch.setattr(objects, "create", lambda path, content: objects.put(path, content) or True)
    finding = examined(bucket)["bucket: create again"]
    assert finding.verdict == "problem" and "was created twice" in finding.text
    assert not objects.listing(bucket)


def test_a_listing_that_lacks_the_newest_object_is_a_problem(bucket, monkeypatch):
    monkeypatch.setattr(objects, "entries", lambda folder: {})
    finding = examined(bucket)["bucket: list"]
    assert finding.verdict == "problem" and "lacks the object" in finding.text


def test_a_store_that_is_down_is_a_problem_soon(proxy, bucket):
    proxy.fail(503, "write|read|list|bucket|stat")
    with objects.patience(0.5):
        findings = examined(bucket)
    assert findings["bucket: create"].verdict == "problem"
    assert "HTTP status 503" in findings["bucket: create"].text


@pytest.mark.parametrize(
    ("skew", "verdict", "said"),
    [
        (0.0, "ok", "within"),
        (60.0, "warning", "60 s behind the clock of gs://bucket"),
        (-900.0, "problem", "900 s ahead of the clock of gs://bucket"),
    ],
)
def test_the_clock_is_compared_with_that_of_the_bucket(proxy, bucket, skew, verdict, said):
    proxy.skew = skew
    finding = clocks.of_this_machine(bucket, "")
    assert finding.verdict == verdict
    seconds = abs(finding.figures["seconds_ahead"])
    assert seconds == pytest.approx(abs(skew), abs=2)
    assert re.sub(r"\d+ s", "60 s" if skew > 0 else "900 s", finding.text, count=1).startswith(said)


def test_the_clock_is_compared_with_that_of_a_server(proxy):
    proxy.skew = 120.0
    finding = clocks.of_this_machine("runs", f"{proxy.url}/nothing/there")
    assert finding.verdict == "warning" and "behind the clock of http://127" in finding.text


@pytest.mark.parametrize("server", ["http://127.0.0.1:9", "http://localhost:80a"])
def test_a_server_that_does_not_answer_leaves_the_clock_uncompared(server):
    finding = clocks.of_this_machine("runs", server)
    assert finding.verdict == "skipped" and f"not compared: {server}" in finding.text


def test_the_clocks_of_hosts_that_hold_a_lock_or_work_in_a_folder_are_compared(bucket):
    held = folder_lock.acquire(f"{bucket}/.lock", beat=100)
    workers = Workers(StoragePath(bucket) / "workers", print, beat=100)
    workers.join()
    beat = {
        **files.read_json(f"{bucket}/workers/{workers.own}.json"),
        "holder": "host-b, process 3",
    }
    files.write_json(f"{bucket}/workers/b.json", beat | {"time": beat["time"] - 400})
    findings = list(clocks.of_other_machines(bucket))
    assert sorted(finding.verdict for finding in findings) == ["ok", "ok", "problem"]
    (late,) = (finding for finding in findings if finding.verdict == "problem")
    assert "s behind host-b, process 3, beside the folder's" in late.text
    assert late.figures["seconds_ahead"] == pytest.approx(-400, abs=3)
    workers.leave()
    held.release()
    files.remove(f"{bucket}/workers/b.json")
    assert list(clocks.of_other_machines(bucket)) == []
