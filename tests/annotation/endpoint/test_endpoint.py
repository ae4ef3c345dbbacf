"""Teachers on a server, which fails on cue."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from teacherlm_jax.annotation import teachers as teachers_of
from teacherlm_jax.annotation.endpoint.endpoint_teacher import request_seed
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.config import DryRunOptions, EndpointConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import distributed
from teacherlm_jax.storage import files
from tests.completions_server import CompletionsServer, text_of

KEY = "sk-secret-8d1f"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with CompletionsServer() as started:
        yield started


@pytest.fixture
def config(make_config, server, tmp_path):
    """Settings of a run whose chains of thought the server writes, with quick retries."""
    made = make_config(cot=server.teacher)
    made.output = str(tmp_path / "run")
    made.endpoint = EndpointConfig(timeout=30.0, concurrency=3)
    return made


def annotate(config, **changes):
    return verbs.run("annotate", dataclasses.replace(config, **changes))


def rows_of(config, kind="cot"):
    folder = f"{config.output}/texts/{kind}"
    return [
        row
        for name in sorted(files.names(folder))
        for _, row in files.read_jsonl(f"{folder}/{name}")
    ]


def expected(samples, seed=5):
    """The texts that the server writes for the chains of thought of samples, by id."""
    prompts = [own[0] for own in encode_prompts(samples, ["cot"], None, False)]
    return {p.sample.id: text_of(p.text, request_seed(seed, p)) for p in prompts}


def set_endpoint(config, **changes):
    config.endpoint = dataclasses.replace(config.endpoint, **changes)


def test_a_dry_run_asks_a_server_for_no_text(config, server, samples):
    set_endpoint(config, completion_price=5000.0)
    text = verbs.dry_run("annotate", config, DryRunOptions(dry_run=True))
    assert not server.asked
    assert files.names(config.output) == []
    (prompt,) = next(encode_prompts(samples, ["cot"], None, False))
    assert f"\nprompt 1: cot/{samples[0].id}\n{prompt.text}\n" in text
    line = f"{server.teacher}: cot; nothing was generated there; the new tokens cost at most"
    assert f"\n{line} {len(samples) * 6 * 0.005:.4f}" in text
    assert "tokens of a prompt" not in text


def test_a_server_explains_every_sample_with_our_prompts_and_a_seed_for_each(
    config, server, samples
):
    result = annotate(config)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)
    assert len(server.asked) == len(samples) == result["kinds"]["cot"]["count"]
    assert len({body["seed"] for body in server.asked}) == len(samples)
    body = server.asked[0]
    prompt = body.pop("prompt")
    assert prompt.startswith("Q: ") and prompt.endswith(" Let's think step by step.")
    assert 0 <= body.pop("seed") < 2**31
    assert body == {"model": "teacher-1", "temperature": 1.0, "top_p": 1.0, "max_tokens": 6}
    assert set(server.keys) == {f"Bearer {KEY}"}
    for _, row in files.read_jsonl(f"{config.output}/samples/part-00000.jsonl"):
        assert row["explanations"]["cot"]["me"] == expected(samples)[row["id"]]
        assert row["annotations"]["cot"]["served_model"] == "teacher-1-2026"
        assert row["annotations"]["cot"]["usage"] == "reported"


def test_settings_that_only_vllm_has_are_sent_to_vllm(config, server):
    config.sampling = dataclasses.replace(
        config.sampling, top_k=7, min_p=0.1, repetition_penalty=1.2, min_new_tokens=2, stop=("Q:",)
    )
    with pytest.raises(UserError, match=r"config.sampling.top_k: 7, but .*endpoint.api='vllm'"):
        fields.check(config)
    set_endpoint(config, api="vllm")
    annotate(config)
    sent = {key: server.asked[0][key] for key in ("top_k", "min_p", "min_tokens", "stop")}
    assert sent == {"top_k": 7, "min_p": 0.1, "min_tokens": 2, "stop": ["Q:"]}
    assert server.asked[0]["repetition_penalty"] == 1.2


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


@pytest.mark.parametrize(
    ("fault", "stop", "reason"),
    [
        ("full", (), "length"),
        (None, (), "eos"),
        (None, ("Q:",), "stop"),
        ("vllm stop", ("Q:",), "stop"),
        ("vllm end", ("Q:",), "eos"),
    ],
)
def test_the_reason_for_the_end_of_a_text_is_recorded(config, server, fault, stop, reason):
    server.cue = lambda number, body: fault
    config.sampling = dataclasses.replace(config.sampling, stop=stop)
    annotate(config)
    assert {row["finish_reason"] for row in rows_of(config)} == {reason}
    assert {row["gates"]["finished"] for row in rows_of(config)} == {reason != "length"}


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
    with pytest.raises(UserError, match="refused the first 20 prompts, for example (cot|mistake)/"):
        annotate(config)
    assert not os.path.exists(f"{config.output}/texts") or rows_of(config) == []


@pytest.mark.parametrize("fault", ["no usage", "wrong usage", "impossible usage"])
def test_tokens_that_a_server_does_not_count_are_estimated(config, server, fault):
    server.cue = lambda number, body: fault
    result = annotate(config)
    (sizes,) = {(row["usage"], row["new_tokens"]) for row in rows_of(config)}
    assert sizes == ("estimated", 5)  # 18 bytes with blanks
    assert result["kinds"]["cot"]["new_tokens"] == 5 * 11
    assert "does not count tokens" in _log(config)


def _log(config):
    with open(f"{config.output}/log.txt") as file:
        return file.read()


def test_as_many_requests_are_in_flight_as_the_key_says_and_no_more(config, server):
    set_endpoint(config, concurrency=4)

    def hold(server):
        with server.changed:
            server.changed.wait_for(lambda: server.most_in_flight >= 4, timeout=20)
            if len(server.asked) <= 4:  # a fifth request would come now
                server.changed.wait_for(lambda: server.most_in_flight > 4, timeout=1)

    server.hold = hold
    annotate(config)
    assert server.most_in_flight == 4


def test_requests_keep_the_limit_per_minute(config, server, samples):
    set_endpoint(config, requests_per_minute=600, concurrency=8)
    server.cue = lambda number, body: "broken" if number == 2 else None
    annotate(config)
    assert len(server.asked) == len(samples) + 1
    assert server.times[-1] - server.times[0] >= len(samples) / 10 - 0.1  # a tenth of a second each


def test_tokens_and_cost_are_counted(config, server, samples):
    set_endpoint(config, prompt_price=1000.0, completion_price=3000.0)
    result = annotate(config)["kinds"]["cot"]
    words = sum(len(body["prompt"].split()) for body in server.asked)
    assert (result["prompt_tokens"], result["new_tokens"]) == (words, 2 * len(samples))
    assert result["cost"] == pytest.approx(words / 1000 + 2 * len(samples) * 3 / 1000)
    assert f"{words:,} prompt tokens, 22 new tokens, cost {result['cost']:.4f}" in _log(config)
    counts = [
        files.read_json(f"{config.output}/counts/cot/{name}")
        for name in files.names(f"{config.output}/counts/cot")
    ]
    assert sum(figures["prompt_tokens"] for figures in counts) == words


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


def test_the_key_is_written_nowhere(config, server, capfd, tmp_path):
    server.cue = lambda number, body: "too long" if number == 3 else None
    annotate(config)  # the server repeats the key in its refusal
    assert "[OPENAI_API_KEY]" in rows_of(config)[0]["refusal"] + _refusals(config)
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


def _refusals(config):
    return json.dumps([row for _, row in files.read_jsonl(f"{config.output}/cot.refused.jsonl")])


def test_one_run_has_teachers_of_ours_and_at_an_address(config, server, samples, teachers):
    config.teachers.fundamental = str(teachers[0])
    result = annotate(config)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)
    ours = rows_of(config, "fundamental")
    assert len(ours) == len(samples) and {row["dtype"] for row in ours} == {"float32"}
    assert "cost" in result["kinds"]["cot"] and "cost" not in result["kinds"]["fundamental"]
    alone = dataclasses.replace(config, output=f"{config.output}-alone")
    alone.teachers = dataclasses.replace(config.teachers, cot="")
    alone.endpoint = EndpointConfig()
    annotate(alone)
    assert rows_of(alone, "fundamental") == ours


def test_texts_of_a_run_are_added_to_the_source_of_another(config, server, samples, teachers):
    server.cue = lambda number, body: "too long" if number == 2 else None
    config.author = "served"
    annotate(config)
    other = dataclasses.replace(
        config,
        output=f"{config.output}-ours",
        author="ours",
        teachers=dataclasses.replace(config.teachers, cot=str(teachers[0])),
        source=dataclasses.replace(
            config.source, explanations=f"{config.output}/texts/cot/part-*.jsonl"
        ),
        endpoint=EndpointConfig(),
    )
    annotate(other)
    rows = [
        row
        for name in sorted(files.names(f"{other.output}/samples"))
        for _, row in files.read_jsonl(f"{other.output}/samples/{name}")
    ]
    served = {row["id"]: row["explanations"]["cot"].get("served") for row in rows}
    assert {id: text for id, text in served.items() if text} == {
        row["id"]: row["text"] for row in rows_of(config) if row["text"]
    }
    assert all("ours" in row["explanations"]["cot"] for row in rows)
    assert sum(text is None for text in served.values()) == 1
    assert "further explanations, cot: 10 by served" in _log(other)


def command_of(config, folder):
    """Return the command of a run in another process."""
    (folder / "config.py").write_text(
        f"from teacherlm_jax.config import *\n\n\ndef get_config(variant):\n    return {config!r}\n"
    )
    return [sys.executable, "-m", "teacherlm_jax", "annotate", f"--config={folder}/config.py"]


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
