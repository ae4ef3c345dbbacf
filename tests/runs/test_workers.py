"""Heartbeats of processes that share a run folder."""

import json
import os
import subprocess
import sys
import time

import pytest

from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import files, holders
from teacherlm_jax.storage.paths import StoragePath


def workers(folder, **settings):
    return Workers(StoragePath(folder), print, **settings)


def beat(folder, name, **values):
    content = {**holders.description(), "heartbeat": 1, "time": time.time()} | values
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_processes_see_each_other_until_they_leave(tmp_path):
    first, second = workers(tmp_path), workers(tmp_path)
    assert first.others() == []
    first.join()
    second.join()
    assert (first.others(), second.others()) == ([second.own], [first.own])
    second.leave()
    assert first.others() == []
    first.leave()
    assert list(tmp_path.iterdir()) == []


def test_a_process_without_heartbeats_counts_as_gone_after_a_while(tmp_path):
    elsewhere = {"machine": "another", "process": 1}
    beat(tmp_path, "a", **elsewhere)
    here = workers(tmp_path, stale=0.3)
    assert here.others() == ["a"]
    time.sleep(0.2)
    beat(tmp_path, "a", **elsewhere, heartbeat=2)
    time.sleep(0.2)
    assert here.others() == ["a"]
    time.sleep(0.4)
    assert here.others() == []
    beat(tmp_path, "a", **elsewhere, heartbeat=3)
    assert here.others() == ["a"], "it was only paused"


def test_a_process_of_this_machine_that_ended_is_gone_at_once(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    beat(tmp_path, "a", process=ended.pid)
    beat(tmp_path, "b", machine="another", time=time.time() - 3600)
    here = workers(tmp_path)
    assert here.others() == []
    here.remove_gone()
    assert list(tmp_path.iterdir()) == []


def test_the_next_heartbeat_of_a_living_process_is_not_removed(tmp_path):
    beat(tmp_path, "a", process=os.getpid())
    (tmp_path / ".b.json.x").touch()
    here = workers(tmp_path)
    here.remove_gone()
    assert files.names(tmp_path) == [".b.json.x", "a.json"]
    (tmp_path / "a.json").unlink()
    here.remove_gone()
    assert files.names(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"holder": "a", "process": "x"}'])
def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert workers(tmp_path).others() == []
