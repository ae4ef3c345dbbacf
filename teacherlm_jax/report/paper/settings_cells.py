"""The cells of Table 2 and of the hyper-parameters, each with a run that would fill it."""

import functools

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.paper import data_figures, printed
from teacherlm_jax.report.paper.paper_cells import PaperCell

DATA, TEACHERS, STUDENTS = "data", "teacher_settings", "student_settings"
SETTINGS_TABLES = (DATA, TEACHERS, STUDENTS)
# One student of each kind, since the settings of a kind are the same.
_STUDENTS = {
    "multi": f"student/{paper_models.STUDENTS[0]}/multi/text",
    "single": paper_models.SINGLE_TASK[0],
}


@functools.cache
def cells(name: str) -> tuple[PaperCell, ...]:
    """Return the cells of a table in SETTINGS_TABLES that have a number, row by row."""
    table = printed.table(name)
    return tuple(
        PaperCell(name, row, column, _filled_by(name, row, column), "", "", number)
        for row in table.rows
        for column in table.columns
        if (number := table.value(row, column)) is not None
    )


def _filled_by(name: str, row: str, column: str) -> str:
    """Return what a run stands for that fills a cell; other runs may fill it, too."""
    if name == TEACHERS:
        first, *_ = (one for one in paper_models.TEACHERS if one.startswith(f"teacher/{row}/"))
        stage = {"stage3": "stage3_cot"}.get(column, column)
        return f"teacher/{row}/{stage}" if stage.startswith("stage") else first
    if name == STUDENTS:
        return _STUDENTS[row]
    if column == "human":
        return f"student/{paper_models.SINGLE_TASK_STUDENTS[0]}/{row}/{data_figures.HUMAN}"
    if column in ("options", "test"):
        return f"student/{paper_models.SINGLE_TASK_STUDENTS[0]}/pretrained"
    return f"data/{row}"
