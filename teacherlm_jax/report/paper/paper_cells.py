"""The cells of the paper's tables of accuracies, each with the model and the benchmark it is of."""

import dataclasses
import functools
from collections.abc import Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.paper import printed

ACCURACY_TABLES = (
    *("teachers", "subjects"),
    *(f"students_{benchmark}" for benchmark in printed.STUDENT_BENCHMARKS),
    "single_task",
)
AVERAGE = "average"  # row of the averages of Tables 5 and 6
_MMLU_QUESTIONS = 14_042  # of the test split, which the paper calls validation


@dataclasses.dataclass(frozen=True)
class PaperCell:
    """One number of the paper.

    Attributes:
        table: key of its table.
        row: name of its row.
        column: name of its column.
        model: the model, or a run that fills the cell if it is not an accuracy, as in `stands_for`.
        format: format of the benchmark; empty if the cell is not an accuracy.
        subject: subject of MMLU; empty: the whole benchmark.
        printed: the number; None if it is a misprint.
    """

    table: str
    row: str
    column: str
    model: str
    format: str
    subject: str
    printed: float | None

    @property
    def can_be_filled(self) -> bool:
        """Return whether a run of this program can stand for it, unlike the models of others."""
        return self.model not in paper_models.OTHERS or self.model == "other/bloom-176b"


@functools.cache
def cells(name: str) -> tuple[PaperCell, ...]:
    """Return the cells of a table in ACCURACY_TABLES, row by row.

    Cells that no model of the paper stands for, such as a stage that a teacher lacks, are left out.
    """
    table = printed.table(name)
    rows = (*table.rows, *((AVERAGE,) if table.averages else ()))
    found = (_cell(name, row, column) for row in rows for column in table.columns)
    return tuple(cell for cell in found if cell.model in paper_models.MODELS)


def questions(format: str) -> int:
    """Return the number of questions that the paper evaluates on."""
    if format == "mmlu":
        return _MMLU_QUESTIONS
    return int(printed.table("data").value(format, "test") or 0)


def by_place(found: Sequence[PaperCell]) -> dict[tuple[str, str], PaperCell]:
    """Return cells of one table by row and column."""
    return {(cell.row, cell.column): cell for cell in found}


def _cell(name: str, row: str, column: str) -> PaperCell:
    table = printed.table(name)
    if row == AVERAGE:
        value = table.averages[table.columns.index(column)]
    else:
        value = table.value(row, column)
    model, format, subject = _subject_of(name, row, column)
    return PaperCell(name, row, column, model, format, subject, value)


def _subject_of(name: str, row: str, column: str) -> tuple[str, str, str]:
    """Return the model, the format of the benchmark, and the subject of a cell."""
    if name == "teachers":
        return f"teacher/{row}/{column}", "mmlu", ""
    if name == "subjects":
        return column, "mmlu", "" if row == AVERAGE else row
    if name == "single_task":
        return f"student/{row}/{column}", row.rpartition("/")[2], ""
    training = row if row == "pretrained" else f"multi/{row}"
    return f"student/{column}/{training}", name.removeprefix("students_"), ""
