"""Explanations that fail a gate and are generated again."""

import dataclasses

import jax
import pytest

from benchmarks import stub_teacher
from teacherlm_jax import sharding
from teacherlm_jax.annotation import explain as explaining
from teacherlm_jax.annotation.attempts import PromptRequests, attempt_key
from teacherlm_jax.annotation.explain import explain
from teacherlm_jax.annotation.explanation_prompts import encode_prompts
from teacherlm_jax.annotation.job import job
from teacherlm_jax.config import MeshConfig, SamplingConfig, fields
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files
from tests.make_run import make_run

SAMPLES = list(synthetic.generate(20, seed=6))
ATTEMPTS = 3


@pytest.fixture
def stub(monkeypatch):
    stub_teacher.install(patch=monkeypatch.setattr)


@pytest.fixture
def start(stub, make_config, teachers, tmp_path):
    """A function that annotates samples in a folder."""

    def annotate(folder, **settings):
        files.write_jsonl(tmp_path / "samples.jsonl", [to_row(sample) for sample in SAMPLES])
        config = dataclasses.replace(
            make_config(cot=teachers[0], mistake=teachers[0]),
            **({"root": str(tmp_path), "gates": ("finished",), "attempts": ATTEMPTS} | settings),
        )
        return job.annotate(config, make_run(folder))

    return annotate


def _rows(folder, part, kind="cot"):
    paths = sorted((folder / part / kind).glob("part-*.jsonl"))
    return [row for path in paths for _, row in files.read_jsonl(path)]


def _contents(folder):
    paths = [
        path for part in ("texts", "samples", "rejected") for path in (folder / part).rglob("*.*")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _finished(sample, kind, attempt):
    """Return whether the stub ends the text of an attempt."""
    ((prompt,),) = encode_prompts([sample], [kind], None, False)
    return attempt_key(5, prompt, attempt)[0] % 2 == 0


def test_the_first_attempt_that_passes_is_kept_or_the_last_one(start, tmp_path):
    result = start(tmp_path / "run")
    expected, earlier = {}, []
    for sample in SAMPLES:
        passing = [n for n in range(1, ATTEMPTS + 1) if _finished(sample, "cot", n)]
        expected[sample.id] = passing[0] if passing else ATTEMPTS
        earlier += [(sample.id, n) for n in range(1, expected[sample.id])]
    rows = _rows(tmp_path / "run", "texts")
    assert {row["id"]: row["attempt"] for row in rows} == expected
    assert {1, 2, 3} == set(expected.values())
    assert not any("rejected" in row for row in rows)
    rejected = _rows(tmp_path / "run", "rejected")
    assert [(row["id"], row["attempt"]) for row in rejected] == earlier
    assert not any(row["gates"]["finished"] for row in rejected)
    assert {tuple(row) for row in rejected} == {tuple(rows[0])}
    assert len({(row["id"], row["text"]) for row in (*rows, *rejected)}) > len(rows)
    counts = {str(n): list(expected.values()).count(n) for n in (1, 2, 3)}
    assert result["kinds"]["cot"]["attempts"] == counts
    failed = sum(not row["gates"]["finished"] for row in rows)
    assert 0 < failed < counts["3"]
    assert result["texts"] == 2 * len(SAMPLES)
    every = [
        row
        for part in ("texts", "rejected")
        for kind in ("cot", "mistake")
        for row in _rows(tmp_path / "run", part, kind)
    ]
    assert result["costs"]["texts"] == len(every) > result["texts"]
    for key in ("prompt_tokens", "new_tokens"):
        assert result["costs"][key] == sum(row[key] for row in every)


def test_first_attempts_are_those_of_a_job_without_further_ones(start, tmp_path):
    start(tmp_path / "one", attempts=1)
    start(tmp_path / "run")
    once = {row["id"]: row for row in _rows(tmp_path / "one", "texts")}
    assert not any("attempt" in row for row in once.values())
    assert not (tmp_path / "one/rejected").exists()
    first = [
        row
        for part in ("texts", "rejected")
        for row in _rows(tmp_path / "run", part)
        if row["attempt"] == 1
    ]
    assert {row["id"]: row for row in first} == {
        id: {**row, "attempt": 1} for id, row in once.items()
    }


@pytest.mark.parametrize("texts", [1, 9, 25])
def test_a_killed_job_ends_with_the_same_bytes_with_any_number_of_slots(
    start, tmp_path, monkeypatch, texts
):
    start(tmp_path / "expected")
    real, number = explaining.complete, []

    def complete(*arguments, **settings):
        for completion in real(*arguments, **settings):
            yield completion
            number.append(completion)
            if len(number) == texts:
                raise MemoryError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(explaining, "complete", complete)
        with pytest.raises(MemoryError):
            start(tmp_path / "run", slots=16)
    start(tmp_path / "run", slots=24)
    assert _contents(tmp_path / "run") == _contents(tmp_path / "expected")


@pytest.mark.parametrize("answer_check", [False, True])
def test_a_damaged_line_of_a_complete_file_keeps_the_rejected_texts(start, tmp_path, answer_check):
    gates = ("finished", "answer_check") if answer_check else ("finished",)
    start(tmp_path / "run", gates=gates)
    expected = _contents(tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    path = tmp_path / "run/texts/cot/part-00001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((lines[0], lines[1][:30], b"\n", *lines[2:])))
    result = start(tmp_path / "run", gates=gates)
    assert result["texts"] == 1
    assert _contents(tmp_path / "run") == expected


@pytest.fixture(scope="module")
def loaded(teachers):
    mesh = sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])
    return any_model.load(teachers[0], mesh, dtype="float32")


def test_a_model_writes_the_same_attempts_with_any_number_of_slots(loaded, samples):
    settings = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=8)
    found = [
        explain(
            *(loaded, samples[:5], KINDS, settings),
            gates=("not_empty", "synthetic", "no_repetition"),
            attempts=ATTEMPTS,
            slots=slots,
        )
        for slots in (2, 16)
    ]
    assert found[0] == found[1]
    assert {one.attempt for one in found[0]} == {ATTEMPTS}  # an untrained teacher
    assert all(len(one.rejected) == ATTEMPTS - 1 for one in found[0])
    texts = {text.text for one in found[0] for text in (one, *one.rejected)}
    assert len(texts) > 2 * len(found[0])
    once = explain(*(loaded, samples[:5], KINDS, settings), gates=("not_empty",), slots=8)
    assert [one.text for one in once] == [one.rejected[0].text for one in found[0]]


def test_prompts_that_are_tried_again_do_not_separate_those_of_a_sample(vocabulary, samples):
    encoded = list(encode_prompts(samples[:3], KINDS, vocabulary, False))
    prompts = [prompt for own in encoded for prompt in own]
    requests = PromptRequests(iter(prompts), 0, len(KINDS), {"cot": 2})
    order = [next(requests)]
    requests.again(prompts[0], 2)
    order += [next(requests) for _ in range(4)]
    assert [one.id for one in order] == [one.id for one in (*prompts[:3], prompts[0], prompts[3])]
    assert [one.prefix > 0 for one in order] == [True, True, True, False, True]
    assert [one.adapter for one in order] == [2, 0, 0, 2, 2]
    assert order[3].key.tolist() != order[0].key.tolist()
    assert order[0].key.tolist() == request_key(0, samples[0].id, "cot").tolist()
    assert len(list(requests)) == 5
    requests.again(prompts[1], 3)
    assert [one.id for one in requests] == [prompts[1].id]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gates": ("answer_check",)}, "3, but no gate of config.gates judges a text by itself"),
        ({"sampling": SamplingConfig(temperature=0)}, "3, but with config.sampling.temperature=0"),
    ],
)
def test_attempts_without_effect_are_refused(make_config, teachers, changes, problem):
    config = dataclasses.replace(make_config(cot=teachers[0]), attempts=ATTEMPTS, **changes)
    with pytest.raises(UserError, match=f"config.attempts: {problem}"):
        fields.check(config)


def test_explain_refuses_no_attempt():
    with pytest.raises(UserError, match="attempts: expected 1 or more, got 0"):
        explain(None, [], attempts=0)
