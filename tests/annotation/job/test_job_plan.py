"""The plan of a job: what is read again, and what a changed source or setting changes."""

import dataclasses

import pytest

from teacherlm_jax.annotation.job import job_plan
from teacherlm_jax.config import ColumnsConfig
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from tests.blank_model import save_blank
from tests.make_run import make_run

SAMPLES = list(synthetic.generate(9, seed=8))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, vocabulary):
    return save_blank(tmp_path_factory.mktemp("teacher"), vocabulary, {7: 0.5})


@pytest.fixture
def plan(tmp_path, make_config, teacher):
    """Function that plans a job for some samples in one run folder."""

    def planned(samples, **settings):
        files.write_jsonl(tmp_path / "samples.jsonl", [to_row(sample) for sample in samples])
        config = dataclasses.replace(make_config(cot=teacher), root=str(tmp_path), **settings)
        return job_plan.plan_job(config, make_run(tmp_path / "run"))

    return planned


def _ids(job):
    return [
        [sample.id for sample in job.folder.read_shard(index)]
        for index in range(len(job.record.shards))
    ]


def _begin(tmp_path):
    files.write_json(tmp_path / "run" / "texts" / "cot" / "part-00000.jsonl.partial", {})


def test_the_samples_are_in_the_shards_in_the_order_of_the_source(plan):
    job = plan(SAMPLES)
    assert _ids(job) == [[sample.id for sample in SAMPLES[at : at + 4]] for at in (0, 4, 8)]
    assert job.folder.read_shard(0) == SAMPLES[:4]
    assert job.record.shards == (4, 4, 1)
    assert sum(job.record.lengths["cot"].values()) == 9


def test_a_source_that_did_not_change_is_not_read_again(plan, monkeypatch):
    before = plan(SAMPLES).record
    monkeypatch.setattr(SourceReading, "first", None)
    assert plan(SAMPLES).record == before


def test_until_there_are_explanations_everything_may_change(plan, tmp_path):
    plan(SAMPLES)
    other = plan(list(reversed(SAMPLES[2:])), rows_per_shard=5)
    assert other.record.shards == (5, 2)
    assert files.names(tmp_path / "run" / "shards") == ["part-00000.jsonl", "part-00001.jsonl"]
    _begin(tmp_path)
    with pytest.raises(UserError, match=f"lacks 1 .* example {SAMPLES[2].id}") as raised:
        plan(list(reversed(SAMPLES[3:])), rows_per_shard=5)
    assert "second file" not in str(raised.value)


def test_ids_that_a_second_file_changes_are_explained(plan, make_config, tmp_path):
    source = dataclasses.replace(
        make_config().source, path="samples*.jsonl", format="columns", name="mine",
        columns=ColumnsConfig(question="question", options=("options",), answer="answer"),
    )  # fmt: skip
    plan(SAMPLES, source=source, gates=())
    _begin(tmp_path)
    (tmp_path / "samples-more.jsonl").write_bytes((tmp_path / "samples.jsonl").read_bytes())
    with pytest.raises(UserError, match=r"lacks 9 .* example mine-1; .* change with a second file"):
        plan(SAMPLES, source=source, gates=())


def test_new_rows_anywhere_in_the_source_make_new_shards(plan, tmp_path):
    plan(SAMPLES[2:7])
    _begin(tmp_path)
    job = plan(SAMPLES)
    added = [sample.id for sample in (*SAMPLES[:2], *SAMPLES[7:])]
    assert job.record.shards == (4, 1, 4)
    assert _ids(job)[2] == added
    assert sum(job.record.lengths["cot"].values()) == 9


def test_rows_with_the_id_of_an_earlier_row_are_refused(plan):
    job = plan([*SAMPLES, SAMPLES[3]])
    assert (job.record.rows, job.record.refused) == (9, 1)


def test_a_plan_that_was_interrupted_is_made_again(plan, tmp_path):
    expected = _ids(plan(SAMPLES))
    (tmp_path / "run" / "job.json").unlink()
    (tmp_path / "run" / "shards" / "part-00001.jsonl").write_text("{")
    assert _ids(plan(SAMPLES)) == expected


def test_explanations_of_another_prompt_version_are_refused(plan, tmp_path, monkeypatch):
    plan(SAMPLES)
    _begin(tmp_path)
    monkeypatch.setattr(prompts, "PROMPT_VERSION", "other")
    with pytest.raises(UserError, match=r"job.json: prompt version .*choose another config.output"):
        plan(SAMPLES)
