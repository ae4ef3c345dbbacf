"""Every model of the paper has a config that trains it, and one that evaluates it for its cell."""

import importlib.util
import pathlib
import re

import pytest

from teacherlm_jax.config import fields, paper_models, paper_slices
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import chips

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
    assert paper_models.benchmarks_of("teacher/7b1/stage1") == ("mmlu",)
    assert paper_models.benchmarks_of("student/bloomz-7b1-multi/creak/C/human") == ("creak",)
    for name in ("student/opt-1.3b/pretrained", "student/opt-1.3b/multi/P3"):
        assert set(paper_models.benchmarks_of(name)) == {"creak", "ecqa", "strategyqa", "mmlu"}


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


def test_the_tables_of_slices_in_the_docstrings_are_those_that_the_configs_use():
    row = r"^ {4}(\w+) +\d+ +(v\w+:\S+) +fsdp=(\d+)(?:, tensor=(\d+))? .* ([\d.]+) s$"
    rows = re.findall(row, TEACHER.__doc__, re.MULTILINE)
    assert [size for size, *_ in rows] == list(paper_slices.TEACHERS)
    for size, *shown in rows:
        assert_planned(paper_slices.TEACHERS[size], *shown)
    row = r"^ {4}(\w+|bloom\(z\))-(\S+) +(v\w+:\S+) +fsdp=(\d+)(?:, tensor=(\d+))? .* ([\d.]+) s\b"
    rows = re.findall(row, STUDENT.__doc__, re.MULTILINE)
    assert [size for _, size, *_ in rows] == list(paper_slices.STUDENTS)
    for _, size, *shown in rows:
        assert_planned(paper_slices.STUDENTS[size], *shown)
    assert f"({paper_slices.TASK_SECONDS} s for a single task)" in STUDENT.__doc__


def assert_planned(planned, topology, fsdp, tensor, seconds):
    assert (planned.topology, planned.tensor) == (topology, int(tensor or 1))
    assert planned.seconds == float(seconds)
    assert chips.parse(topology).chips == int(fsdp) * planned.tensor


def test_a_single_task_has_a_quarter_of_the_batch_and_of_its_parts():
    multi = STUDENT.get_config("opt-1.3b/multi/C,steps=9")
    task = STUDENT.get_config("opt-1.3b/creak/C,steps=9")
    assert (multi.batch_size, multi.accumulate) == (256, 8)
    assert (task.batch_size, task.accumulate) == (64, 2)


def test_the_steps_for_data_that_are_not_prepared_follow_from_their_tokens():
    tokens = 256 * 2048 * 7 + 1
    assert STUDENT.get_config(f"opt-1.3b/multi/C,tokens={tokens}").steps == 8
    assert STUDENT.get_config(f"bloomz-7b1/creak/C,tokens={64 * 2048}").steps == 10
    assert STUDENT.get_config(f"bloomz-7b1/creak/C,tokens={64 * 2048},epochs=3").steps == 3


def test_only_some_forms_of_students_data_can_be_prepared():
    (mixture,) = STUDENT_DATA.get_config("creak,forms=CMF").mixtures
    assert mixture.name == "student_CMF"
    with pytest.raises(UserError, match="forms: unknown 'CM'; known: C, F, M$"):
        STUDENT_DATA.get_config("creak/davinci,forms=C+CM")


def test_toy_forms_and_models_that_are_not_in_the_paper_stand_for_nothing(monkeypatch):
    assert TEACHER.get_config("7b1/stage1,tiny").stands_for == ""
    assert STUDENT.get_config("opt-1.3b/multi/C,tiny").stands_for == ""
    assert STUDENT.get_config("opt-1.3b/creak/C,steps=10").stands_for == "none"
    monkeypatch.setattr(prepared, "open", None)  # `steps` needs no data
    assert STUDENT.get_config("bloomz-7b1/creak/C/davinci,steps=10").model.layers == 30
