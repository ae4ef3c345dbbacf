"""A server that fails, refuses or is away, and keys that it does not take."""

import dataclasses
import os
import sys
import time
from collections import Counter

import pytest

from teacherlm_jax.annotation import teachers as teachers_of
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import distributed
from teacherlm_jax.storage import files

from .endpoint_runs import KEY, annotate, expected, refusals_of, rows_of, set_endpoint


@pytest.mark.parametrize("fault", ["busy", "broken", "late", "reset", "truncated", "no choices"])
def test_a_request_that_fails_for_a_while_is_tried_again(config, server, samples, fault):
    server.cue = lambda number, body: fault if number in (0, 4) else None
    if fault == "late":
        set_endpoint(config, timeout=0.5)
    annotate(config)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)
    assert len(server.asked) == len(samples) + 2
    again = [body for body in server.asked if server.asked.count(body) == 2]
    assert len(again) == 4  # the same prompt with the same seed


def test_retry_after_is_honoured(config, server):
    set_endpoint(config, concurrency=1)
    server.cue = lambda number, body: "busy" if number == 0 else None
    annotate(config)
    assert server.asked[0] == server.asked[1]
    assert server.times[1] - server.times[0] >= 0.3


def test_a_server_that_asks_for_a_long_wait_ends_the_run(config, server):
    server.cue = lambda number, body: "long wait"
    with pytest.raises(UserError, match="status 429: slow down .*; Retry-After: 300"):
        annotate(config)
    assert len(server.asked) <= 3


def test_a_connection_that_nobody_takes_ends_the_run_before_it_begins(config):
    config.teachers.cot = "http://127.0.0.1:9/v1#teacher-1"
    set_endpoint(config, retries=0)
    with pytest.raises(UserError, match="127.0.0.1:9.*fail, after up to 0 retries .*Connect"):
        annotate(config)


@pytest.mark.parametrize(("fault", "status"), [("wrong key", 401), ("forbidden", 403)])
def test_a_wrong_key_ends_the_run_with_one_line(config, server, fault, status, monkeypatch):
    server.cue = lambda number, body: fault
    message = rf"refuses access \(status {status}: .*OPENAI_API_KEY is set, but not to a valid key"
    with pytest.raises(UserError, match=message) as caught:
        annotate(config)
    assert len(server.asked) <= 3 and "\n" not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        annotate(config)
    assert server.keys[-1] == "Bearer EMPTY"


def test_another_variable_has_the_key(config, server, monkeypatch):
    monkeypatch.setenv("OUR_KEY", "abc")
    set_endpoint(config, key_variable="OUR_KEY")
    annotate(config)
    assert set(server.keys) == {"Bearer abc"}


def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(config, monkeypatch):
    for key in ("sk-é1", "sk 12"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(UserError, match="variable OPENAI_API_KEY: contains spaces") as caught:
            annotate(config)
        assert key not in str(caught.value)


def test_without_the_library_the_error_says_how_to_install_it(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match="pip install -r requirements-endpoint.txt"):
        annotate(config)


def test_processes_that_share_models_cannot_share_a_server(config, monkeypatch):
    monkeypatch.setattr(distributed, "process_count", lambda: 4)
    with pytest.raises(UserError, match=r"config.teachers.cot=http.*: 4 processes"):
        teachers_of.describe_teachers(config)


def test_an_unknown_model_ends_the_run(config, server):
    config.teachers.cot = f"{server.url}#other"
    with pytest.raises(UserError, match="no model 'other'; name one .* for example teacher-1"):
        annotate(config)
    assert server.asked == []
    server.cue = lambda number, body: "no model"
    for server.models, server.unlisted in ((None, None), ([], {"data": ["x", {"id": 3}]})):
        with pytest.raises(UserError, match=r"does not know .*v1/completions or the model 'other'"):
            annotate(config)


def test_a_model_that_changed_on_the_server_is_noticed(config, server):
    server.cue = lambda number, body: "wrong key" if number >= 5 else None
    with pytest.raises(UserError):
        annotate(config)
    server.models[0]["created"] = 2  # vLLM's list has the time of the request here
    with pytest.raises(UserError, match="refuses access"):
        annotate(config)
    server.models[0]["root"] = "/models/other"
    with pytest.raises(UserError, match=r"inputs changed .*config.teachers.cot="):
        annotate(config)


def test_a_row_that_the_server_refuses_is_listed_and_not_asked_for_again(config, server, samples):
    refused = samples[6].id
    prompts = {own[0].sample.id: own[0].text for own in encode_prompts(samples, ["cot"], None, 0)}
    for fault, reason in (("too long", "status 400: maximum context"), ("filtered", "content_")):
        server.cue = lambda number, body, fault=fault: (
            fault if body["prompt"] == prompts[refused] else None
        )
        config.output += "2"
        asked = len(server.asked)
        result = annotate(config)
        assert result["kinds"]["cot"]["finish_reasons"] == {"eos": 10, "refused": 1}
        ((_, listed),) = files.read_jsonl(f"{config.output}/cot.refused.jsonl")
        assert (listed["row"]["id"], listed["line"]) == (refused, 3)
        assert reason in listed["reason"]
        (sample,) = [
            row
            for _, row in files.read_jsonl(f"{config.output}/samples/part-00001.jsonl")
            if row["id"] == refused
        ]
        assert "me" not in sample["explanations"]["cot"] and sample["annotations"] == {}
        annotate(config)
        assert len(server.asked) - asked == len(samples)


def test_a_server_that_refuses_every_prompt_ends_the_run(config, server):
    config.teachers.mistake = server.teacher
    server.cue = lambda number, body: "too long"
    with pytest.raises(
        UserError, match=r"refused the first 2\d prompts, for example (cot|mistake)/"
    ):
        annotate(config)
    assert not os.path.exists(f"{config.output}/texts") or rows_of(config) == []


def test_many_prompts_that_are_refused_before_the_first_text_do_not_end_the_run(config, server):
    config.teachers.mistake = server.teacher
    set_endpoint(config, concurrency=22)
    server.cue = lambda number, body: "too long" if number < 21 else time.sleep(1)
    kinds = annotate(config)["kinds"]
    reasons = [Counter(figures["finish_reasons"]) for figures in kinds.values()]
    assert sum(reasons, Counter()) == {"refused": 21, "eos": 1}


def test_the_key_is_written_nowhere(config, server, capfd, tmp_path):
    server.cue = lambda number, body: "too long" if number == 3 else None
    annotate(config)  # the server repeats the key in its refusal
    assert "[OPENAI_API_KEY]" in rows_of(config)[0]["refusal"] + refusals_of(config)
    for fault in ("wrong key", "no model", "broken"):
        server.cue = lambda number, body, fault=fault: fault
        other = dataclasses.replace(config, output=str(tmp_path / fault))
        other.endpoint = dataclasses.replace(config.endpoint, retries=0)
        with pytest.raises(UserError) as caught:
            annotate(other)
        assert KEY not in "".join(map(repr, (caught.value, caught.value.__cause__)))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []
    assert KEY not in "".join(capfd.readouterr())
