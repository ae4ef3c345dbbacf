"""Configs of the teachers' data: their sources and mixtures."""

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
    config = module.get_config(argument)
    fields.check(config)
    return config


@pytest.mark.parametrize(("name", "sources"), [("p3_sense_3k", 539), ("muffin_3w", 590)])
def test_stage_1_reads_all_tasks_that_the_papers_rules_select(name, sources):
    config = load(name, "data=there,root=runs/x")
    assert len(config.sources) == sources
    assert (config.root, config.output) == ("there", f"runs/x/{name}")
    assert [(mixture.name, mixture.forms) for mixture in config.mixtures] == [(name, ("text",))]
    assert config.length == 2048


def test_datasets_can_be_selected_by_name():
    config = load("p3_sense_3k", "datasets=glue_qqp+quarel,layout=parquet")
    assert len(config.sources) == 6 + 5
    config = load("muffin_3w", "datasets=rte")
    assert [source.name for source in config.sources] == [
        f"rte_{number}" for number in range(1, 11)
    ]
    with pytest.raises(UserError, match="unknown dataset 'rty'"):
        load("muffin_3w", "datasets=rty")


def test_teacher_data_has_mixtures_of_stages_2_and_3_that_begin_with_the_subject():
    config = load("teacher_data", "author=people,files=*.parquet")
    (source,) = config.sources
    assert (source.path, source.format, source.columns.author) == ("*.parquet", "columns", "people")
    kinds = {mixture.name: mixture.forms for mixture in config.mixtures}
    assert kinds == {
        "teacher_stage2": ("shuffle",),
        "teacher_stage3_cot": ("C",),
        "teacher_stage3_fundamental": ("F",),
        "teacher_stage3_mistake": ("M",),
    }
    for mixture in config.mixtures:
        assert (mixture.subject_prefix, mixture.author) == (True, "people")


def test_data_of_all_stages_and_of_the_control_can_be_prepared_together():
    config = load("teacher_data", "all")
    assert len(config.sources) == 1 + 539 + 590
    named = {mixture.name: mixture for mixture in config.mixtures}
    assert set(named) >= {"teacher_stage1", "teacher_stage2", "teacher_no_stage"}
    assert "teacher_data" not in named["teacher_stage1"].sources
    assert len(named["teacher_stage1"].sources) == 539 + 590
    assert config.sources[1].path.startswith("P3/data/")
    assert config.sources[-1].path.startswith("tfds/")
    config = load("teacher_data", "all,layout=parquet")
    assert (config.sources[1].path[:3], config.sources[1].reader) == ("P3/", "parquet")


def test_an_unknown_variant_is_named():
    with pytest.raises(UserError, match="unknown variant 'al'; known: all"):
        load("teacher_data", "al")
