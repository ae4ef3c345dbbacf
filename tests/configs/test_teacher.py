"""The configs of the teacher's data: what they read and what they make of it."""

import importlib.util
import pathlib

import pytest

from teacherlm_jax.config import fields
from teacherlm_jax.errors import UserError

FOLDER = pathlib.Path(__file__).parents[2] / "configs"


def load(name, argument=""):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.get_config(argument)
    fields.check(made)
    return made


@pytest.mark.parametrize(("name", "sources"), [("p3_sense_3k", 539), ("muffin_3w", 590)])
def test_stage_1_reads_every_task_under_the_papers_rules(name, sources):
    made = load(name, "data=there,root=runs/x")
    assert len(made.sources) == sources
    assert (made.root, made.output) == ("there", f"runs/x/{name}")
    assert [(mixture.name, mixture.forms) for mixture in made.mixtures] == [(name, ("text",))]
    assert made.length == 2048


def test_some_data_sets_can_be_named():
    made = load("p3_sense_3k", "datasets=glue_qqp+quarel,layout=parquet")
    assert len(made.sources) == 6 + 5
    made = load("muffin_3w", "datasets=rte")
    assert [source.name for source in made.sources] == [f"rte_{number}" for number in range(1, 11)]
    with pytest.raises(UserError, match="unknown dataset 'rty'"):
        load("muffin_3w", "datasets=rty")


def test_teacher_data_serves_stages_2_and_3_with_the_subject_first():
    made = load("teacher_data", "author=people,files=*.parquet")
    (source,) = made.sources
    assert (source.path, source.format, source.columns.author) == ("*.parquet", "columns", "people")
    kinds = {mixture.name: mixture.forms for mixture in made.mixtures}
    assert kinds == {
        "teacher_stage2": ("shuffle",),
        "teacher_stage3_cot": ("C",),
        "teacher_stage3_fundamental": ("F",),
        "teacher_stage3_mistake": ("M",),
    }
    for mixture in made.mixtures:
        assert (mixture.subject_prefix, mixture.author) == (True, "people")


def test_all_stages_and_their_control_can_be_made_together():
    made = load("teacher_data", "all")
    assert len(made.sources) == 1 + 539 + 590
    named = {mixture.name: mixture for mixture in made.mixtures}
    assert set(named) >= {"teacher_stage1", "teacher_stage2", "teacher_no_stage"}
    assert "teacher_data" not in named["teacher_stage1"].sources
    assert len(named["teacher_stage1"].sources) == 539 + 590
    assert made.sources[1].path.startswith("P3/data/")
    assert made.sources[-1].path.startswith("tfds/")


def test_an_unknown_variant_is_named():
    with pytest.raises(UserError, match="unknown variant 'al'; known: all"):
        load("teacher_data", "al")
