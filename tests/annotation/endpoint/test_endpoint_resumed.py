"""Runs with a server that were stopped, killed, or shared by two processes."""

import signal
import subprocess
import time
from collections import Counter

import pytest

from teacherlm_jax.errors import UserError

from .endpoint_runs import annotate, command_of, expected, rows_of, set_endpoint


def test_a_server_that_stays_away_ends_the_run_which_resumes_without_asking_again(
    config, server, samples
):
    set_endpoint(config, retries=1)
    server.cue = lambda number, body: "broken" if number >= 5 else None
    with pytest.raises(UserError, match=r"fail, after up to 1 retries \(status 500: a bug"):
        annotate(config)
    there = {row["id"] for row in rows_of(config)}
    assert len(there) == 5
    asked = len(server.asked)
    server.cue = lambda number, body: None
    annotate(config)
    assert len(server.asked) - asked == len(samples) - 5
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)


def test_texts_in_flight_are_kept_when_another_request_ends_the_run(config, server):
    def cue(number, body):
        if number == 0:
            return "wrong key"
        time.sleep(1)
        return None

    server.cue = cue
    with pytest.raises(UserError, match="refuses access"):
        annotate(config)
    assert len(rows_of(config)) == len(server.asked) - 1 == 2


def test_a_run_stops_before_it_costs_more_than_the_limit_and_resumes(config, server, samples):
    config.rows_per_shard = 5  # one complete file and a partial one at the first stop
    set_endpoint(config, completion_price=1e6, max_cost=20.0)  # 1 for each token, 6 at most
    with pytest.raises(UserError, match=r"max_cost=20.0: another .* cost 16.0000.* raise it"):
        annotate(config)
    assert len(rows_of(config)) == len(server.asked) == 8
    with pytest.raises(UserError, match="max_cost=20.0"):
        annotate(config)
    assert len(server.asked) == 8
    set_endpoint(config, max_cost=30.0)
    annotate(config)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)
    assert len(server.asked) == len(samples)


def test_two_processes_ask_for_each_text_once(config, server, samples, tmp_path):
    config.rows_per_shard = 1
    set_endpoint(config, concurrency=1)

    def hold(server):  # the first process waits for a request of the second
        with server.changed:
            server.changed.wait_for(lambda: server.most_in_flight >= 2, timeout=120)

    server.hold = hold
    command = command_of(config, tmp_path)
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    assert server.most_in_flight == 2
    assert len(server.asked) == len(samples)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)


def test_a_killed_run_resumes_without_asking_for_what_is_on_disk(config, server, samples, tmp_path):
    command = command_of(config, tmp_path)

    def hold(server):
        with server.changed:
            server.changed.wait_for(lambda: len(server.asked) < 6)

    server.hold = hold  # the sixth request and those after it get no answer
    process = subprocess.Popen(command)
    with server.changed:
        assert server.changed.wait_for(lambda: len(server.asked) >= 6, timeout=120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {row["id"] for row in rows_of(config)}
    asked = len(server.asked)
    server.hold = lambda server: None
    assert 3 <= len(there) <= 5
    assert subprocess.run(command, check=False).returncode == 0
    assert len(server.asked) - asked == len(samples) - len(there)
    repeated = Counter(body["seed"] for body in server.asked)
    assert sum(repeated.values()) - len(repeated) <= 3  # those in flight
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)


def test_a_signal_stops_a_run_at_once_though_the_server_does_not_answer(config, server, tmp_path):
    command = command_of(config, tmp_path)

    def hold(server):
        with server.changed:
            server.changed.wait_for(lambda: len(server.asked) > 100, timeout=60)

    server.hold = hold
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with server.changed:
        assert server.changed.wait_for(lambda: len(server.asked) >= 3, timeout=120)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "repeat the command to resume" in errors and "Traceback" not in errors
    with server.changed:
        server.asked += [None] * 100
        server.changed.notify_all()
