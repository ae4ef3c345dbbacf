"""A job that annotates what another job has annotated."""

import dataclasses

import pytest

from teacherlm_jax.annotation.job import job, job_plan
from teacherlm_jax.config import SourceConfig, TeachersConfig
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading
from teacherlm_jax.storage.refused_rows import RefusedRows
from tests.make_run import make_run


def _read(config, folder, **settings):
    refused = RefusedRows(folder / "unused.jsonl")
    samples = list(reading.read_samples(config, "", refused, **settings))
    assert refused.total == 0
    return samples


@pytest.fixture(scope="module")
def chained(make_config, tmp_path_factory, teachers):
    """Two jobs: the second explains what the first has annotated."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    config = dataclasses.replace(make_config(cot=teachers[0]), gates=("not_empty", "synthetic"))
    job.annotate(config, make_run(folders[0]))
    source = SourceConfig("again", str(folders[0] / "samples" / "*.jsonl"))
    again = dataclasses.replace(
        make_config(fundamental=teachers[0]), root="", source=source, gates=("not_empty",)
    )
    return again, folders, job.annotate(again, make_run(folders[1]))


def test_a_second_job_keeps_the_annotations_of_the_first(chained):
    _, (first, second), _ = chained
    before = _read(SourceConfig("first", str(first / "samples" / "*")), first)
    after = _read(SourceConfig("second", str(second / "samples" / "*")), second)
    for old, new in zip(before, after, strict=True):
        assert set(old.annotations) == {"cot"}
        assert new.annotations["cot"] == old.annotations["cot"]
        assert set(new.annotations["fundamental"]["gates"]) == {"not_empty"}
        assert new.explanations["cot"] == old.explanations["cot"]
        assert "me" in new.explanations["cot"]


def test_a_source_can_drop_explanations_that_failed_a_gate_of_either_job(chained):
    _, (_, folder), result = chained
    source = SourceConfig("again", str(folder / "samples" / "*.jsonl"))
    explanations = [sample.explanations for sample in _read(source, folder, checked_only=True)]
    assert not any("me" in texts["cot"] for texts in explanations)
    passed = result["kinds"]["fundamental"]["passed_all_gates"]
    assert sum("me" in texts["fundamental"] for texts in explanations) == passed > 0
    assert all("program" in texts[kind] for texts in explanations for kind in KINDS)


@pytest.mark.parametrize("author", ["me", "you"])  # one set of verdicts is kept per kind
def test_an_annotated_kind_is_not_annotated_again(chained, teachers, tmp_path, author):
    again, _, _ = chained
    cot = TeachersConfig(cot=str(teachers[0]))
    error = "sample synthetic-train-3-0 already has an annotated cot by 'me', which this job would"
    with pytest.raises(UserError, match=f"{error} replace; .* from before that annotation$"):
        job.annotate(dataclasses.replace(again, teachers=cot, author=author), make_run(tmp_path))
    assert not (tmp_path / "texts").exists()


def test_the_kind_that_a_message_names_is_left_out(chained, teachers, tmp_path):
    again, _, _ = chained
    both = dataclasses.replace(
        again, teachers=TeachersConfig(cot=str(teachers[0]), mistake=str(teachers[0]))
    )
    with pytest.raises(UserError, match=r"that annotation, or leave config\.teachers\.cot empty$"):
        job_plan.plan_job(both, make_run(tmp_path))
    both.teachers.cot = ""
    assert job_plan.plan_job(both, make_run(tmp_path)).kinds == ("mistake",)


def test_the_explanations_of_another_author_are_not_replaced(make_config, teachers, tmp_path):
    human = dataclasses.replace(make_config(cot=teachers[0]), author="program")
    remedy = r"choose another config\.author$"
    error = (
        "sample synthetic-train-3-0 already has a cot by 'program', which this job would replace"
    )
    with pytest.raises(UserError, match=f"{error}; {remedy}"):
        job.annotate(human, make_run(tmp_path))
    assert not (tmp_path / "texts").exists()
    other = dataclasses.replace(human, author="somebody else")
    assert job_plan.plan_job(other, make_run(tmp_path)).kinds == ("cot",)
