"""The paper's tables of accuracies, with our figures and the differences below each row."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import NO_FIGURE, Cell, Table, count
from teacherlm_jax.report.paper import names_of_models, paper_cells, printed
from teacherlm_jax.report.paper.measured import Accuracy, Measured
from teacherlm_jax.report.paper.paper_cells import PaperCell

OURS, DIFFERENCE = "ours", "ours − paper"
_COLUMNS = 6  # of numbers in one part of Tables 5 and 6
FORMS = ("C", "M", "F", "CM", "CMF", "FCM", "shuffle")  # explained, in the order of the table

_NAMES: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "teachers": (names_of_models.teacher, names_of_models.stage),
    "single_task": (
        lambda row: names_of_models.dataset(row.partition("/")[2]),
        names_of_models.single_task_form,
    ),
    **{
        f"students_{benchmark}": (names_of_models.form, names_of_models.student)
        for benchmark in printed.STUDENT_BENCHMARKS
    },
}


def shown(value: float | None, decimals: int) -> str:
    """Return a number, or a dash."""
    return NO_FIGURE if value is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """Return a difference with its sign, or a dash."""
    if value is None:
        return NO_FIGURE
    text = f"{round(value, decimals) + 0.0:+.{decimals}f}"  # without a zero that is negative
    return text.replace("-", "−")


def single_task(measured: Measured) -> Iterator[Table]:
    """Yield the table of students of one task, in a part for each model that they start from."""
    for model in paper_models.SINGLE_TASK_STUDENTS:
        part = accuracies("single_task", measured, f"{model}/")
        yield dataclasses.replace(part, caption=f"{names_of_models.student(model)}. {part.caption}")


def accuracies(name: str, measured: Measured, prefix: str = "") -> Table:
    """Return one of the paper's tables; rows of ours follow those that we have figures for.

    Only rows whose names begin with `prefix` are in it.
    """
    table, (name_row, name_column) = printed.table(name), _NAMES[name]
    own_cells = [cell for cell in paper_cells.cells(name) if cell.row.startswith(prefix)]
    found = paper_cells.by_place(own_cells)
    rows: list[tuple[str | Cell, ...]] = []
    for row in filter(lambda row: row.startswith(prefix), table.rows):
        own = [found.get((row, column)) for column in table.columns]
        rows += _three_rows(name_row(row), own, table, row, measured)
    ours = [measured.accuracy(c.model, c.format, c.subject) for c in found.values()]
    caption = f"{table.heading} ({printed.source()}). {table.note}{_notes(found.values(), ours)}"
    if any(NO_FIGURE in row for row in rows):
        caption += (
            f" {NO_FIGURE}: the paper has no number{', or we have none' if any(ours) else ''}."
        )
    return Table(caption, ("", *map(name_column, table.columns)), tuple(rows))


def _three_rows(
    title: str,
    own: Sequence[PaperCell | None],
    table: printed.PrintedTable,
    row: str,
    measured: Measured,
) -> Iterator[tuple[str | Cell, ...]]:
    """Yield the row of the paper, and of ours and of the differences if there are any."""
    decimals = table.decimals
    of_paper = [table.value(row, column) for column in table.columns]
    yield (f"{title}, paper", *(printed_cell(table, row, column) for column in table.columns))
    ours = [
        measured.accuracy(cell.model, cell.format, cell.subject) if cell else None for cell in own
    ]
    if any(ours):
        yield (f"{title}, {OURS}", *(_ours(figure, decimals) for figure in ours))
        differences = map(_difference, ours, of_paper)
        yield (f"{title}, {DIFFERENCE}", *(signed(value, decimals) for value in differences))


def printed_cell(table: printed.PrintedTable, row: str, column: str) -> str | Cell:
    """Return a number of the paper, marked if it is a misprint."""
    misprint = table.misprint(row, column)
    if misprint is None:
        return shown(table.value(row, column), table.decimals)
    return Cell(f"{shown(misprint, table.decimals)} (misprint)", order=misprint)


def _ours(figure: Accuracy | None, decimals: int) -> str:
    return shown(figure.value if figure else None, decimals)


def _difference(ours: Accuracy | None, of_paper: float | None) -> float | None:
    return None if ours is None or of_paper is None else ours.value - of_paper


def _notes(found: Collection[PaperCell], ours: Sequence[Accuracy | None]) -> str:
    """Return what limits a comparison, for a caption; empty if nothing does."""
    notes = ""
    others = sorted(
        {
            (names_of_models.dataset(cell.format), figure.rows, paper_cells.questions(cell.format))
            for cell, figure in zip(found, ours, strict=True)
            if figure and not cell.subject and figure.rows != paper_cells.questions(cell.format)
        }
    )
    for name, rows, of_paper in others:
        notes += f" Ours on {name}: {count(rows)} questions instead of {count(of_paper)}."
    several = sum(1 for figure in ours if figure and len(figure.runs) > 1)
    if several:
        notes += f" {several} of our figures are means of several runs."
    return notes


def subjects(measured: Measured) -> Iterator[Table]:
    """Yield Tables 5 and 6 in parts that fit a page, with the averages in the last row.

    A model that we have figures for has three columns: paper, ours and the difference.
    """
    columns = printed.table("subjects").columns
    widths = [3 if measured.accuracy(column, "mmlu") else 1 for column in columns]
    part: list[str] = []
    taken = 0
    for column, width in zip(columns, widths, strict=True):
        if taken + width > _COLUMNS:
            yield _subjects(measured, part)
            part, taken = [], 0
        part.append(column)
        taken += width
    yield _subjects(measured, part)


def _subjects(measured: Measured, columns: Sequence[str]) -> Table:
    table = printed.table("subjects")
    found = paper_cells.by_place(paper_cells.cells("subjects"))
    with_ours = [column for column in columns if measured.accuracy(column, "mmlu")]
    header = ["subject"]
    for column in columns:
        header.append(names_of_models.short_model(column))
        header += [OURS, DIFFERENCE] if column in with_ours else []
    rows = []
    for row in (*table.rows, paper_cells.AVERAGE):
        cells = [names_of_models.subject(row)]
        for column in columns:
            cells += _subject_cells(found[row, column], column in with_ours, measured)
        rows.append(tuple(cells))
    chosen = [cell for cell in found.values() if cell.column in with_ours]
    ours = [measured.accuracy(cell.model, cell.format, cell.subject) for cell in chosen]
    caption = f"{table.heading} ({printed.source()}). {table.note}{_notes(chosen, ours)}"
    return Table(caption, tuple(header), tuple(rows))


def _subject_cells(cell: PaperCell, with_ours: bool, measured: Measured) -> list[str]:
    decimals = printed.table("subjects").decimals
    of_paper = shown(cell.printed, decimals)
    if not with_ours:
        return [of_paper]
    ours = measured.accuracy(cell.model, cell.format, cell.subject)
    difference = signed(_difference(ours, cell.printed), decimals)
    return [of_paper, _ours(ours, decimals), difference]
