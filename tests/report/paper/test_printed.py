"""The paper's numbers in the package: none is lost, and sums and averages are as printed."""

import json
import statistics

import pytest

from teacherlm_jax.config import names, paper_models
from teacherlm_jax.report.paper import printed

STAGES = {
    "stage1": "stage1",
    "stage2": "stage2",
    "C": "stage3_cot",
    "F": "stage3_fundamental",
    "M": "stage3_mistake",
    "no_stage": "no_stage",
}
FORMS = {"pretrained": "pretrained", "origin": "P3", "sense": "text"} | {
    form: form for form in names.FORMS if form != "text"
}
COLUMNS = {
    "teacherlm-560m": "teacher/560m/stage3_cot",
    "teacherlm-1b1": "teacher/1b1/stage3_cot",
    "teacherlm-3b": "teacher/3b/stage3_cot",
    "flan-palm-8b": "other/flan-palm-8b",
    "teacherlm-7b1": "teacher/7b1/stage3_cot",
    "teacherlm-176b": "teacher/176b/stage2",
    "glm-130b": "other/glm-130b",
    "bloom-176b": "other/bloom-176b",
    "gopher-280b": "other/gopher-280b",
}


def raw(name, row, column):
    table = printed.table(name)
    return table.rows[row][table.columns.index(column)]


@pytest.fixture(scope="module")
def reference(shared_data):
    path = shared_data.parent / "reference" / "paper_results.json"
    return json.loads(path.read_text(encoding="utf-8"))


def rebuilt_teachers():
    by_stage = {
        size: {
            old: value
            for old, new in STAGES.items()
            if (value := raw("teachers", size, new)) is not None
        }
        for size in paper_models.SIZES
    }
    settings = {
        size: {
            "learning_rate": raw("teacher_settings", size, "learning_rate"),
            "batch_size": raw("teacher_settings", size, "batch_size"),
            "tokens": [
                raw("teacher_settings", size, stage) for stage in ("stage1", "stage2", "stage3")
            ],
        }
        for size in paper_models.SIZES
    }
    return by_stage, settings


def rebuilt_students():
    return {
        benchmark: {
            old: {
                model: raw(f"students_{benchmark}", new, model) for model in paper_models.STUDENTS
            }
            for old, new in FORMS.items()
        }
        for benchmark in printed.STUDENT_BENCHMARKS
    }


def rebuilt_single_task():
    def task(model, name):
        row = f"{model}/{name}"
        return {
            "text": raw("single_task", row, "text"),
            "manual": raw("single_task", row, "C/human"),
            "teacherlm": [raw("single_task", row, form) for form in "CFM"],
            "davinci": [raw("single_task", row, f"{form}/davinci") for form in "CFM"],
        }

    rows = {"bloomz-7b1": "bloomz-7b1", "p3-augmented-bloomz-7b1": "bloomz-7b1-multi"}
    return {
        old: {name: task(new, name) for name in paper_models.TASKS} for old, new in rows.items()
    }


def rebuilt_data():
    sets = {}
    for row, name in (*((task, task) for task in paper_models.TASKS), ("p3", "P3-Sense-3K")):
        kinds = {
            old: raw("data", row, new)
            for old, new in (("manual", "human"), *((kind, kind) for kind in KINDS))
        }
        sets[name] = {
            key: raw("data", row, key)
            for key in ("options", "train", "test")
            if row != "p3" and raw("data", row, key) is not None
        } | {"mean_tokens": {kind: value for kind, value in kinds.items() if value is not None}}
    return sets


KINDS = ("cot", "fundamental", "mistake")


def rebuilt_subjects():
    table = printed.table("subjects")
    order = [table.columns.index(column) for column in COLUMNS.values()]
    rows = {row: [values[index] for index in order] for row, values in table.rows.items()}
    return {"columns": list(COLUMNS), **rows, "average": list(table.averages)}


def without_words(value):
    """Return a part of the reference without its notes."""
    return {key: part for key, part in value.items() if key != "note"}


def test_nothing_of_the_reference_is_lost_or_changed(reference):
    by_stage, settings = rebuilt_teachers()
    corpora = printed.table("corpora")
    words = ("fields", "built_by")  # in the table's note
    expected = {
        name: {key: value for key, value in corpus.items() if key not in words}
        for name, corpus in reference["datasets"].items()
    }
    found = {
        name: {
            key: value for key, value in zip(corpora.columns, row, strict=True) if value is not None
        }
        for name, row in corpora.rows.items()
    }
    assert found == expected
    assert by_stage == without_words(reference["mmlu_by_stage"])
    assert settings == reference["teacher_hyperparameters"]
    assert rebuilt_students() == without_words(reference["multi_task_students"])
    assert rebuilt_single_task() == without_words(reference["single_task_finetuning"])
    assert rebuilt_data() == reference["evaluation_sets"]
    assert rebuilt_subjects() == reference["mmlu_per_subject"]
    students = printed.table("student_settings")
    assert {
        f"{row}_task": dict(zip(students.columns, values, strict=True))
        for row, values in students.rows.items()
    } == reference["student_hyperparameters"]
    parts = {"mmlu_by_stage", "teacher_hyperparameters", "student_hyperparameters", "datasets"} | {
        "evaluation_sets",
        "single_task_finetuning",
        "multi_task_students",
        "mmlu_per_subject",
    }
    assert set(reference) == parts | {"source"}
    assert reference["source"].startswith(printed.source())


def test_each_row_has_a_number_or_none_for_each_column():
    for name in printed.names():
        table = printed.table(name)
        assert table.title and table.note and table.rows
        for row, values in table.rows.items():
            assert len(values) == len(table.columns), (name, row)


def test_printed_averages_are_the_means_of_their_columns():
    table = printed.table("subjects")
    assert len(table.rows) == 57
    for index, column in enumerate(table.columns):
        mean = statistics.mean(values[index] for values in table.rows.values())
        if column == "other/gopher-280b":  # as the note says
            assert round(mean, 2) == 60.61 and table.averages[index] == 60.0
        else:
            assert abs(mean - table.averages[index]) < 0.06, column


def test_the_averages_are_the_figures_of_the_first_table():
    table = printed.table("subjects")
    for column, average in zip(table.columns, table.averages, strict=True):
        role, *rest = column.split("/")
        if role == "teacher":
            assert printed.table("teachers").value(*rest) == average


def test_nine_cells_are_misprints_and_have_no_value():
    marked = {name: printed.table(name).misprints for name in printed.names()}
    assert {name: len(cells) for name, cells in marked.items() if cells} == {"students_ecqa": 9}
    table = printed.table("students_ecqa")
    for row, column in table.misprints:
        assert column == "bloomz-1b1" and row != "pretrained"
        assert table.value(row, column) is None
        assert raw("students_ecqa", row, column) == raw("students_mmlu", row, column)
    assert table.value("pretrained", "bloomz-1b1") == 20.2


def test_rows_and_columns_are_the_names_that_stands_for_takes():
    teachers = {
        f"teacher/{size}/{stage}"
        for size in printed.table("teachers").rows
        for stage in printed.table("teachers").columns
        if printed.table("teachers").value(size, stage) is not None
    }
    assert teachers == set(paper_models.TEACHERS)
    for benchmark in printed.STUDENT_BENCHMARKS:
        table = printed.table(f"students_{benchmark}")
        assert table.columns == paper_models.STUDENTS
        forms = {f"student/opt-1.3b/multi/{form}" for form in table.rows if form != "pretrained"}
        assert forms == {name for name in paper_models.MULTI_TASK if "/opt-1.3b/" in name}
    single = printed.table("single_task")
    found = {f"student/{row}/{form}" for row in single.rows for form in single.columns}
    assert found == set(paper_models.SINGLE_TASK)
    assert set(printed.table("subjects").columns) <= set(paper_models.MODELS)
    assert {f"data/{row}" for row in printed.table("data").rows} == set(paper_models.DATASETS)


def test_tables_are_found_by_the_format_of_a_benchmark():
    assert [table.number for table in printed.tables_of("mmlu")] == ["Table 1", "Table 7"]
    assert [table.number for table in printed.tables_of("ecqa")] == ["Table 7"]
    assert printed.tables_of("sample") == []
    assert printed.is_mean_of_subjects("mmlu") and not printed.is_mean_of_subjects("creak")
