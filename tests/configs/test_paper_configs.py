"""Every model of the paper has a config that trains it, and one that evaluates it for its cell."""

import importlib.util
import pathlib

import pytest

from teacherlm_jax.config import fields, paper_models
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError

FOLDER = pathlib.Path(__file__).parents[2] / "configs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EVALUATE, TEACHER, STUDENT = load("evaluate_paper"), load("teacher"), load("student")
STUDENT_DATA, ANNOTATE_TASK = load("student_data"), load("annotate_task")


def trained(name):
    """Return the training config of a model."""
    role, _, variant = name.partition("/")
    if role == "teacher":
        return TEACHER.get_config(variant)
    return STUDENT.get_config(f"{variant},steps=10")


@pytest.mark.parametrize("name", paper_models.TRAINED)
def test_a_model_is_trained_and_evaluated_under_its_name(name):
    training, evaluation = trained(name), EVALUATE.get_config(name)
    for settings in (training, evaluation):
        fields.check(settings)
        assert settings.stands_for == name
    assert evaluation.model == f"{training.output}/checkpoints/best"


def test_models_of_others_and_models_before_training_are_evaluated_from_the_hub():
    assert EVALUATE.get_config("student/opt-1.3b/pretrained").model == "hf://facebook/opt-1.3b"
    assert EVALUATE.get_config("student/bloomz-3b/pretrained").model == "hf://bigscience/bloomz-3b"
    assert EVALUATE.get_config("other/bloom-176b").model == "hf://bigscience/bloom"
    assert EVALUATE.get_config("other/glm-130b,model=m").model == "m"
    with pytest.raises(UserError, match="not published; set one, as in other/glm-130b,model=PATH"):
        EVALUATE.get_config("other/glm-130b")
    with pytest.raises(UserError, match="did you mean 'teacher/7b1/stage2'"):
        EVALUATE.get_config("teacher/7b1/stage_2")


def test_the_benchmarks_are_those_of_the_cells():
    assert EVALUATE.benchmarks_of("teacher/7b1/stage1") == ("mmlu",)
    assert EVALUATE.benchmarks_of("student/bloomz-7b1-multi/creak/C/human") == ("creak",)
    for name in ("student/opt-1.3b/pretrained", "student/opt-1.3b/multi/P3"):
        assert set(EVALUATE.benchmarks_of(name)) == {"creak", "ecqa", "strategyqa", "mmlu"}


@pytest.mark.parametrize("variant", STUDENT_DATA.VARIANTS)
def test_the_data_of_students_are_where_their_training_reads_them(variant):
    preparation = STUDENT_DATA.get_config(variant)
    fields.check(preparation)
    folders = {f"{preparation.output}/{mixture.name}" for mixture in preparation.mixtures}
    task, _, author = variant.partition("/")
    names = {
        f"{preparation.output}": [
            trained(name).data
            for name in paper_models.TRAINED
            if name.startswith("student/bloomz-7b1/")
            and (
                name.endswith("/multi/P3")
                if variant == "p3"
                else f"/{task}/" in name
                and not name.endswith("/P3")
                and name.endswith(author)
                and (author or name.count("/") == 3)
            )
        ]
    }
    (read,) = names.values()
    assert read and set(read) <= folders


def test_tasks_are_annotated_where_the_data_of_students_come_from():
    for task in paper_models.TASKS:
        ours = ANNOTATE_TASK.get_config(task)
        served = ANNOTATE_TASK.get_config(f"{task}/davinci,server=http://localhost:8000/v1#m")
        for settings in (ours, served):
            fields.check(settings)
        assert f"{ours.output}" == STUDENT_DATA.folder_of(task)
        assert f"{ours.output}" == STUDENT_DATA.folder_of(f"{task}/human")
        assert f"{served.output}" == STUDENT_DATA.folder_of(f"{task}/davinci")
        assert (ours.stands_for, served.stands_for) == (f"data/{task}", "none")
    with pytest.raises(UserError, match="expected an address for TASK/davinci"):
        ANNOTATE_TASK.get_config("creak/davinci")
    p3 = load("annotate_p3")
    fields.check(p3.get_config())
    assert p3.get_config().output == STUDENT_DATA.folder_of("multi")
    assert len(list(p3.sweep())) == 539


def test_toy_forms_and_models_that_are_not_in_the_paper_stand_for_nothing(monkeypatch):
    assert TEACHER.get_config("7b1/stage1,tiny").stands_for == ""
    assert STUDENT.get_config("opt-1.3b/multi/C,tiny").stands_for == ""
    assert STUDENT.get_config("opt-1.3b/creak/C,steps=10").stands_for == "none"
    monkeypatch.setattr(prepared, "open", None)  # `steps` needs no data
    assert STUDENT.get_config("bloomz-7b1/creak/C/davinci,steps=10").model.layers == 30
