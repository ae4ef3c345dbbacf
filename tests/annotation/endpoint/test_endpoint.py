"""Teachers on a server write what it sends, with our prompts, seeds and counts."""

import dataclasses

import pytest

from teacherlm_jax.annotation.endpoint import endpoint_cost
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.config import DryRunOptions, EndpointConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files

from .endpoint_runs import KEY, annotate, expected, log_of, rows_of, set_endpoint


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


@pytest.mark.parametrize("fault", ["no usage", "wrong usage", "impossible usage"])
def test_tokens_that_a_server_does_not_count_are_estimated(config, server, fault):
    server.cue = lambda number, body: fault
    result = annotate(config)
    (sizes,) = {(row["usage"], row["new_tokens"]) for row in rows_of(config)}
    assert sizes == ("estimated", 5)  # 18 bytes with blanks
    assert result["kinds"]["cot"]["new_tokens"] == 5 * 11
    assert "reports no token counts" in log_of(config)


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
    whole = annotate(config)
    result, costs = whole["kinds"]["cot"], whole["costs"]
    words = sum(len(body["prompt"].split()) for body in server.asked)
    assert costs["money"] == pytest.approx(result["cost"])
    assert (costs["flops"], costs["chips"], costs["chip_seconds"]) == (None, 0, 0)
    assert (result["prompt_tokens"], result["new_tokens"]) == (words, 2 * len(samples))
    assert result["cost"] == pytest.approx(words / 1000 + 2 * len(samples) * 3 / 1000)
    assert f"{words:,} prompt tokens, 22 new tokens, cost {result['cost']:.4f}" in log_of(config)
    counts = [
        files.read_json(f"{config.output}/counts/cot/{name}")
        for name in files.names(f"{config.output}/counts/cot")
    ]
    assert sum(figures["prompt_tokens"] for figures in counts) == words


def test_one_run_has_teachers_of_ours_and_at_an_address(config, server, samples, teachers):
    config.teachers.fundamental = str(teachers[0])
    result = annotate(config)
    assert {row["id"]: row["text"] for row in rows_of(config)} == expected(samples)
    ours = rows_of(config, "fundamental")
    assert len(ours) == len(samples) and {row["dtype"] for row in ours} == {"float32"}
    assert "cost" in result["kinds"]["cot"] and "cost" not in result["kinds"]["fundamental"]
    assert result["costs"]["texts"] == 2 * len(samples)
    assert result["costs"]["flops"] > 0 and result["costs"]["money"] is None
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
    assert "further explanations, cot: 10 by served" in log_of(other)


def test_the_counts_of_a_finished_shard_are_read_once(tmp_path, monkeypatch):
    class Folder:
        def counted(self, kind):
            return {0: 5}

        def counts(self, kind, index, size):
            return tmp_path / f"{kind}-{index}-{size}.json"

        def uncounted(self, kind, counted):
            return ()

    files.write_json(tmp_path / "cot-0-5.json", {"prompt_tokens": 40, "new_tokens": 7})
    reads, read_json = [], files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: reads.append(path) or read_json(path))
    for _ in range(3):  # as for each batch of a Beam worker
        spent = endpoint_cost.spent_on_disk(EndpointConfig(), Folder(), ["cot"])
        assert (spent.prompt_tokens, spent.new_tokens) == (40, 7)
    assert len(reads) == 1
