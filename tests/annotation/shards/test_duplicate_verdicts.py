"""Near duplicates within a whole job: verdicts in all files, kills, new rows, several places."""

import dataclasses
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import stub_teacher
from teacherlm_jax.annotation import explain
from teacherlm_jax.annotation.job import job
from teacherlm_jax.annotation.shards import duplicate_verdicts, finished_files
from teacherlm_jax.annotation.shards.duplicate_verdicts import NAME
from teacherlm_jax.cli import main
from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.refused_rows import RefusedRows
from tests.make_run import make_run

KINDS = ("cot", "mistake")
GATES = ("not_empty", NAME, "finished")
TEXTS = ("", "the sum of all", "so it is the other one", "the answer is not")
SAMPLES = list(synthetic.generate(10, seed=6))


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Let the teacher write few different texts, so that many are equal."""
    stub_teacher.install(patch=monkeypatch.setattr)

    def complete(model, requests, *_, **settings):
        for one in stub_teacher.complete(model, requests, seconds=0, **settings):
            text = TEXTS[len(one.tokens) % len(TEXTS)]
            yield dataclasses.replace(one, tokens=tuple(model.vocabulary.encode(text)))

    monkeypatch.setattr(explain, "complete", complete)


@pytest.fixture
def start(make_config, teachers, tmp_path):
    """A function that annotates samples in a folder, like the command."""

    config = dataclasses.replace(
        make_config(cot=teachers[0], mistake=teachers[1]), root=str(tmp_path), gates=GATES
    )

    def annotate(folder, samples=SAMPLES):
        files.write_jsonl(tmp_path / "samples.jsonl", [to_row(sample) for sample in samples])
        run = make_run(folder)
        if run.result:
            run.reopen()
        return job.annotate(config, run)

    annotate.config = config
    return annotate


def _rows(folder, *parts):
    folder = StoragePath(folder).joinpath(*parts)
    return [row for name in files.names(folder) for _, row in files.read_jsonl(folder / name)]


def _contents(folder):
    folders = [f"{part}/{kind}" for part in ("texts", "sketches") for kind in KINDS]
    folders += ["samples", *(f"counts/{kind}" for kind in (*KINDS, "samples"))]
    return {
        f"{part}/{name}": files.read_bytes(StoragePath(folder) / part / name)
        for part in folders
        for name in files.names(StoragePath(folder) / part)
    }


def test_of_equal_texts_the_first_in_the_order_of_the_source_passes(start, tmp_path):
    result = start(tmp_path / "run")
    for kind in KINDS:
        seen, expected = {""}, []
        rows = _rows(tmp_path / "run/texts", kind)
        for row in rows:
            expected.append(not row["text"] or row["text"] not in seen)
            seen.add(row["text"])
        verdicts = [row["gates"][NAME] for row in rows]
        assert verdicts == expected
        assert {True, False} == set(verdicts[4:]), "later shards are compared with the first"
        assert [tuple(row["gates"]) for row in rows] == [GATES] * 10
        figures = result["kinds"][kind]
        assert figures["gates"][NAME] == sum(expected)
        assert figures["judged"][NAME] == 10
        all_gates = sum(all(row["gates"].values()) for row in rows)
        assert figures["passed_all_gates"] == all_gates
        samples = _rows(tmp_path / "run/samples")
        assert [row["annotations"][kind]["gates"] for row in samples] == [
            row["gates"] for row in rows
        ]


def test_a_source_and_a_dataset_leave_near_duplicates_out(start, tmp_path, capsys):
    files.write_jsonl(tmp_path / "samples.jsonl", [to_row(sample) for sample in SAMPLES])
    config = dataclasses.replace(start.config, output=str(tmp_path / "run"))
    result = verbs.run("annotate", config)
    source = SourceConfig("again", str(tmp_path / "run/samples/*.jsonl"))
    refused = RefusedRows(tmp_path / "unused.jsonl")
    samples = list(reading.read_samples(source, "", refused, checked_only=True))
    kept = sum("me" in sample.explanations["cot"] for sample in samples)
    passed = result["kinds"]["cot"]
    assert 0 < kept == passed["passed_all_gates"] < passed["gates"][NAME]
    dataset = tmp_path / "dataset"
    checked = "--config.dataset.checked_only=True"
    assert main.main(["convert", str(tmp_path / "run"), str(dataset), checked]) == 0
    (path,) = dataset.glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert sum(row["explanations"]["cot"]["me"] is not None for row in rows) == kept
    shares = [result["kinds"][kind]["gates"][NAME] for kind in KINDS]
    line = " | ".join(f"{share} of 10 ({share / 10:.1%})" for share in shares)
    assert f"| `{NAME}` | {line} |" in (dataset / "README.md").read_text()


@pytest.mark.parametrize("step", range(0, 16, 3))
def test_a_job_that_is_killed_between_two_files_ends_with_the_same_bytes(
    start, tmp_path, monkeypatch, step
):
    start(tmp_path / "expected")
    calls = []

    def counted(name):
        real = getattr(files, name)

        def call(*arguments):
            calls.append(name)
            if len(calls) > step:
                raise MemoryError("killed")
            return real(*arguments)

        return call

    record = duplicate_verdicts.record

    def killed(*arguments):
        with monkeypatch.context() as patch:
            for name in ("update_jsonl", "write_json", "remove"):
                patch.setattr(finished_files.files, name, counted(name))
            return record(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(duplicate_verdicts, "record", killed)
        with pytest.raises(MemoryError):
            start(tmp_path / "run")
    start(tmp_path / "run")
    assert _contents(tmp_path / "run") == _contents(tmp_path / "expected")


def test_another_process_ends_what_a_killed_one_began(start, tmp_path, monkeypatch):
    """It has planned the job before, so it does not compare files with their figures."""
    start(tmp_path / "expected")
    record, calls = duplicate_verdicts.record, []

    def twice(*arguments):
        def end(*figures):
            raise MemoryError("killed")

        if not calls:
            calls.append("killed")
            with monkeypatch.context() as patch:
                patch.setattr(finished_files, "write_counts", end)
                with pytest.raises(MemoryError):
                    record(*arguments)
        return record(*arguments)

    monkeypatch.setattr(duplicate_verdicts, "record", twice)
    start(tmp_path / "run")
    assert _contents(tmp_path / "run") == _contents(tmp_path / "expected")


def test_nothing_is_written_again(start, tmp_path, monkeypatch):
    start(tmp_path / "run")
    monkeypatch.setattr(duplicate_verdicts, "_duplicates", None)
    before = _contents(tmp_path / "run")
    start(tmp_path / "run")
    assert _contents(tmp_path / "run") == before


def test_lost_sketches_are_made_again(start, tmp_path):
    start(tmp_path / "run")
    expected = _contents(tmp_path / "run")
    (tmp_path / "run/sketches/cot/part-00000.bin").unlink()
    (tmp_path / "run/sketches/cot/part-00001.bin").write_bytes(b"short")
    (tmp_path / "run/samples/part-00001.jsonl").unlink()
    start(tmp_path / "run")
    actual = _contents(tmp_path / "run")
    assert {name: actual[name] for name in expected if "samples" in name} == {
        name: content for name, content in expected.items() if "samples" in name
    }


def test_new_rows_are_compared_with_the_earlier_ones_which_keep_their_verdicts(start, tmp_path):
    start(tmp_path / "run", SAMPLES[:8])
    before = _contents(tmp_path / "run")
    start(tmp_path / "run")
    after = _contents(tmp_path / "run")
    assert before.items() <= after.items()
    start(tmp_path / "expected")
    assert after == _contents(tmp_path / "expected")


def test_a_bucket_gets_the_same_bytes(start, tmp_path, bucket):
    start(tmp_path / "expected")
    verbs.run("annotate", dataclasses.replace(start.config, output=f"{bucket}/run"))
    assert _contents(f"{bucket}/run") == _contents(tmp_path / "expected")


def test_explain_refuses_the_gate():
    with pytest.raises(Exception, match="gates: expected some of .*, got 'not_duplicate'"):
        explain.explain(None, SAMPLES[:1], gates=(NAME,))


def test_a_million_texts_need_less_than_300_megabytes(monkeypatch):
    texts, shard = 50_000, 500
    draw = np.random.default_rng(0)

    def every(job, kind):
        for _ in range(texts // shard):
            packed = draw.integers(0, 256, (shard, 121), dtype=np.uint8)
            packed[:, 0] = 1
            packed[:9] = packed[0]
            yield packed

    monkeypatch.setattr(duplicate_verdicts, "_all_sketches", every)
    tracemalloc.start()
    failed = duplicate_verdicts._duplicates(None, "cot")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert failed.sum() == 8 * texts // shard
    assert peak / texts < 300
