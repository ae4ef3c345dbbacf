"""Shards whose explanations the teacher judges when all of them are there."""

import dataclasses
import json

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates.answer_check import NAME, answers_found
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.annotation.job import job
from teacherlm_jax.config import MeshConfig, SourceConfig
from teacherlm_jax.data.sample import from_row
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.hf import any_model
from teacherlm_jax.hf.dataset_card import _share
from teacherlm_jax.report.blocks import NO_FIGURE
from teacherlm_jax.report.explanations import gate_shares
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from tests.make_run import make_run

GATES = (NAME, "not_empty")
KINDS = ("cot", "mistake")


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory, teachers):
    """A job with the gate and without interruptions."""
    config = dataclasses.replace(make_config(cot=teachers[0], mistake=teachers[0]), gates=GATES)
    folder = tmp_path_factory.mktemp("finished")
    return config, folder, job.annotate(config, make_run(folder))


def _rows(folder, kind):
    paths = sorted((folder / "texts" / kind).glob("part-*.jsonl"))
    return [row for path in paths for _, row in files.read_jsonl(path)]


def _contents(folder):
    paths = [path for part in ("texts", "samples") for path in (folder / part).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_verdicts_are_those_of_the_teacher_on_all_texts(finished, samples, teachers):
    _, folder, _ = finished
    mesh = sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])
    loaded = any_model.load(teachers[0], mesh, dtype="float32")
    rows = _rows(folder, "cot")
    explained = [
        GateInput(sample=sample, kind="cot", text=row["text"], finish_reason=row["finish_reason"])
        for sample, row in zip(samples, rows, strict=True)
    ]
    expected = answers_found(loaded, explained)
    assert {True, False} == set(expected)
    assert [row["gates"].get(NAME) for row in rows] == expected
    assert {tuple(row["gates"]) for row in rows} == {GATES}
    assert {tuple(row["gates"]) for row in _rows(folder, "mistake")} == {GATES[1:]}


def test_shares_are_of_the_texts_that_have_a_verdict(finished):
    _, folder, result = finished
    verdicts = [row["gates"].get(NAME) for row in _rows(folder, "cot")]
    cot, mistake = result["kinds"]["cot"], result["kinds"]["mistake"]
    passed, judged = verdicts.count(True), len(verdicts) - verdicts.count(None)
    assert (cot["gates"][NAME], cot["judged"][NAME]) == (passed, judged)
    assert (mistake["gates"][NAME], mistake["judged"][NAME]) == (0, 0)
    assert cot["judged"]["not_empty"] == 11
    assert gate_shares(cot)["answer check"] == f"{100 * passed / judged:.1f}"
    assert gate_shares(mistake)["answer check"] == NO_FIGURE
    assert _share(0, 0) == "no verdict"


def test_a_source_leaves_out_what_failed(finished, tmp_path):
    _, folder, _ = finished
    paths = sorted((folder / "samples").iterdir())
    gates = {
        row["id"]: row["annotations"]["cot"]["gates"]
        for path in paths
        for _, row in files.read_jsonl(path)
    }
    source = SourceConfig("again", str(folder / "samples" / "*.jsonl"))
    refused = RefusedRows(tmp_path / "unused.jsonl")
    kept = {
        sample.id
        for sample in reading.read_samples(source, "", refused, checked_only=True)
        if "me" in sample.explanations["cot"]
    }
    assert kept == {id for id, verdicts in gates.items() if all(verdicts.values())}
    assert 0 < len(kept) < len(gates)


def test_a_job_that_ends_before_the_verdicts_gets_the_same_ones(finished, tmp_path, monkeypatch):
    """The process ends while a shard is judged; all of its texts are on disk."""
    config, folder, _ = finished
    calls = []

    def end(model, explained, *, scorer):
        calls.append(explained)
        if len(calls) == 3:
            raise MemoryError("the end")
        return answers_found(model, explained, scorer=scorer)

    with monkeypatch.context() as patch:
        patch.setattr(answer_check, "answers_found", end)
        with pytest.raises(MemoryError):
            job.annotate(config, make_run(tmp_path))
    kind = calls[-1][0].kind
    partial = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((tmp_path / "texts" / kind).glob("*.partial"))
    ]
    (whole,) = (rows for rows in partial if len(rows) == len(calls[-1]))
    assert not any(NAME in row["gates"] for row in whole)
    requested = []

    class Noted(Engine):
        def generate(self, requests):
            yield from super().generate(requested.append(one.id) or one for one in requests)

    monkeypatch.setattr(texts, "Engine", Noted)
    job.annotate(config, make_run(tmp_path))
    assert not {f"{kind}/{row['id']}" for row in whole} & set(requested)
    assert _contents(tmp_path) == _contents(folder)


def test_texts_that_lack_only_verdicts_are_judged_without_a_prompt(finished, tmp_path, monkeypatch):
    config, folder, _ = finished
    job.annotate(config, make_run(tmp_path))
    (tmp_path / "result.json").unlink(missing_ok=True)
    complete = tmp_path / "texts/cot/part-00001.jsonl"
    rows = [row for _, row in files.read_jsonl(complete)]
    complete.unlink()
    for row in rows:
        row["gates"].pop(NAME, None)
    files.write_jsonl(complete.with_name(f"{complete.name}.partial"), rows[::-1])
    result = job.annotate(config, make_run(tmp_path))
    assert result["texts"] == 0
    assert _contents(tmp_path) == _contents(folder)


def test_the_samples_have_the_verdicts(finished):
    _, folder, _ = finished
    for kind in KINDS:
        verdicts = [row["gates"] for row in _rows(folder, kind)]
        paths = sorted((folder / "samples").iterdir())
        rows = [from_row(row) for path in paths for _, row in files.read_jsonl(path)]
        assert [row.annotations[kind]["gates"] for row in rows] == verdicts
