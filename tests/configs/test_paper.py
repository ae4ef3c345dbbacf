"""The paper's whole experiment as a pipeline: every model of the paper, in order, within bounds."""

import os
import pathlib

import pytest

from teacherlm_jax.cli import config_file, step_commands
from teacherlm_jax.config import (
    AnnotateConfig,
    EvaluateConfig,
    PipelineConfig,
    PrepareConfig,
    TrainConfig,
    fields,
    paper_models,
)
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError

FILE = pathlib.Path(__file__).parents[2] / "configs/paper.py"
PAPER = config_file.load(FILE)
SERVER = "server=http://localhost:8000/v1#m"


@pytest.fixture(scope="module")
def whole():
    """The pipeline of 7b1 with a model on a server, and the configs of its steps by name."""
    pipeline = PAPER.get_config(f"7b1,{SERVER}")
    fields.check(pipeline)
    return pipeline, step_commands.configs(pipeline)


def test_every_model_of_the_paper_with_this_teacher_is_trained_and_evaluated(whole):
    _, configs = whole
    expected = {
        name
        for name in paper_models.TRAINED
        if not name.startswith("teacher/") or name.startswith("teacher/7b1/")
    }
    trained = {one.stands_for for (one, *_) in configs.values() if isinstance(one, TrainConfig)}
    evaluated = {
        one.stands_for for (one, *_) in configs.values() if isinstance(one, EvaluateConfig)
    }
    assert trained == expected
    assert evaluated == expected | {*paper_models.PRETRAINED}
    annotated = {
        one.stands_for for (one, *_) in configs.values() if isinstance(one, AnnotateConfig)
    }
    assert annotated == {*paper_models.DATASETS, paper_models.NONE}
    assert len(configs["annotate/p3"]) == 539


def test_a_step_writes_where_its_config_does_and_reads_what_is_declared(whole):
    pipeline, configs = whole
    declared = {step.name: step for step in pipeline.steps}
    for name, (one, *_) in configs.items():
        step = declared[name]
        output = os.path.dirname(one.output) if name == "annotate/p3" else one.output
        assert output == step.output, name
        read = {path.removesuffix("/checkpoints/best") for path in _paths(one)}
        assert read <= {*step.inputs}, f"{name}: {read - {*step.inputs}}"


def _paths(one):
    """Return the models and prepared data that a config reads."""
    if isinstance(one, TrainConfig):
        return filter(None, (one.data, one.init_from))
    if isinstance(one, EvaluateConfig):
        return (one.model,)
    if isinstance(one, AnnotateConfig):
        teachers = (one.teachers.cot, one.teachers.fundamental, one.teachers.mistake)
        return (path for path in teachers if "://" not in path)
    return (
        (one.vocabulary.path,) if isinstance(one, PrepareConfig) and "student" in one.output else ()
    )


def test_the_stages_of_the_teacher_come_before_the_students(whole):
    pipeline, _ = whole
    needs = pipeline.needs
    assert needs["teacher/7b1/stage2"] == ("teacher_data", "teacher/7b1/stage1")
    assert needs["annotate/p3"] == tuple(f"teacher/7b1/stage3_{kind}" for kind in KINDS)
    assert needs["student/opt-1.3b/multi/C"] == ("student_data_opt/multi",)
    assert needs["student/bloomz-7b1-multi/ecqa/C"] == (
        "student_data/ecqa",
        "student/bloomz-7b1/multi/CMF",
    )
    assert needs["evaluate/student/opt-1.3b/multi/C"] == ("student/opt-1.3b/multi/C",)
    assert needs["evaluate/student/opt-1.3b/pretrained"] == ()
    assert len(needs["report"]) == len(
        [n for n in needs if not n.startswith(("report", "student_data", "teacher_data"))]
    )


def test_students_of_another_teacher_stand_for_no_cell():
    configs = step_commands.configs(PAPER.get_config("1b1,students=opt-1.3b,forms=text"))
    assert configs["student/opt-1.3b/multi/text"][0].stands_for == "none"
    assert configs["evaluate/student/opt-1.3b/multi/text"][0].stands_for == "none"
    assert configs["annotate/p3"][0].stands_for == "none"
    assert configs["evaluate/teacher/1b1/stage3_cot"][0].stands_for == "teacher/1b1/stage3_cot"
    assert configs["annotate/p3"][0].teachers.cot == (
        "runs/paper/teacher/1b1/stage3_cot/checkpoints/best"
    )


def test_the_largest_teacher_has_one_stage_and_no_students():
    pipeline = PAPER.get_config("176b")
    assert [step.name for step in pipeline.steps] == [
        "teacher_data",
        "teacher/176b/stage2",
        "evaluate/teacher/176b/stage2",
        "report",
        "report_runs",
    ]


@pytest.mark.parametrize("variant", ["560m", "3b", "7b1,root=gs://bucket/paper,data=gs://bucket/d"])
def test_other_forms_of_the_pipeline_are_valid(variant):
    pipeline = PAPER.get_config(variant)
    assert isinstance(pipeline, PipelineConfig)
    fields.check(pipeline)
    step_commands.check([pipeline])


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("13b", "unknown variant '13b'; known: 560m, 1b1"),
        ("7b1,students=opt-13b", "students: unknown 'opt-13b'; known: bloom-1b1"),
        ("7b1,forms=MC", "forms: unknown 'MC'; known: text"),
        ("7b1,tasks=gsm8k", "tasks: unknown 'gsm8k'; known: ecqa"),
    ],
)
def test_unknown_parts_are_refused_with_the_known_ones(variant, message):
    with pytest.raises(UserError, match=message):
        PAPER.get_config(variant)
