"""The key `stands_for` takes the names of the paper's models and datasets, and no other."""

import pytest

from teacherlm_jax.config import AnnotateConfig, EvaluateConfig, TrainConfig, fields, paper_models


def problem_of(kind, value):
    found = fields.problems(kind(stands_for=value), "config")
    return [text for key, text in found if key == "config.stands_for"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (TrainConfig, paper_models.TRAINED),
        (EvaluateConfig, paper_models.MODELS),
        (AnnotateConfig, paper_models.DATASETS),
    ],
)
def test_every_name_none_and_nothing_are_accepted(kind, names):
    for name in (*names, "none", ""):
        assert problem_of(kind, name) == [], name


@pytest.mark.parametrize(
    ("kind", "value", "nearest"),
    [
        (TrainConfig, "teacher/7b1/stage_2", "teacher/7b1/stage2"),
        (TrainConfig, "student/bloomz-7b1/multi/CMFF", "student/bloomz-7b1/multi/CMF"),
        (EvaluateConfig, "student/bloomz7b1/creak/C/human", "student/bloomz-7b1/creak/C/human"),
        (AnnotateConfig, "creak", "data/creak"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(kind, value, nearest):
    (text,) = problem_of(kind, value)
    assert f"got {value!r}" in text
    assert text.startswith("expected a name such as '")
    assert text.endswith(f"did you mean {nearest!r}?")


def test_a_training_run_stands_for_no_model_that_was_not_trained_here():
    assert problem_of(TrainConfig, "student/opt-1.3b/pretrained")
    assert problem_of(TrainConfig, "other/bloom-176b")


def test_the_names_are_as_many_as_the_cells_of_the_paper_have_models():
    assert len(paper_models.TEACHERS) == 4 * 6 + 1
    assert len(paper_models.MULTI_TASK) == 9 * 9
    assert len(paper_models.SINGLE_TASK) == 2 * 3 * 8
    assert len(set(paper_models.MODELS)) == 25 + 81 + 48 + 9 + 4
