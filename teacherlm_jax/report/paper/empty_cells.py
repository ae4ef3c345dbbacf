"""The cells of the paper's tables that no run of ours fills, and the commands that would."""

import dataclasses
from collections.abc import Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import (
    Block,
    Commands,
    FoldedCommand,
    Heading,
    Paragraph,
    Table,
    count,
)
from teacherlm_jax.report.paper import (
    fill_commands,
    lost_files,
    names_of_models,
    paper_cells,
    printed,
    settings_cells,
    settings_tables,
)
from teacherlm_jax.report.paper.measured import Measured
from teacherlm_jax.report.paper.paper_cells import PaperCell

TABLES = (  # in the order of the page
    paper_cells.ACCURACY_TABLES[0],
    settings_cells.DATA,
    *paper_cells.ACCURACY_TABLES[1:],
    *(settings_cells.TEACHERS, settings_cells.STUDENTS),
)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """The filled and the empty cells of all tables but that of the corpora, which no run fills.

    Attributes:
        filled: cells that we have a figure for.
        empty: cells that a run of this program could fill; also those with a figure on fewer
            questions than the paper's.
        others: cells of models that this program cannot run.
    """

    filled: tuple[PaperCell, ...]
    empty: tuple[PaperCell, ...]
    others: tuple[PaperCell, ...]


def coverage(measured: Measured) -> Coverage:
    """Return which cells of the paper our runs fill."""
    filled: list[PaperCell] = []
    empty: list[PaperCell] = []
    others: list[PaperCell] = []
    for cell in all_cells():
        if _is_filled(cell, measured):
            filled.append(cell)
        else:
            (empty if cell.can_be_filled else others).append(cell)
    return Coverage(tuple(filled), tuple(empty), tuple(others))


def all_cells() -> list[PaperCell]:
    """Return the cells of all tables that runs fill."""
    return [
        cell
        for name in TABLES
        for cell in (
            settings_cells if name in settings_cells.SETTINGS_TABLES else paper_cells
        ).cells(name)
    ]


def _is_filled(cell: PaperCell, measured: Measured) -> bool:
    if cell.table in settings_cells.SETTINGS_TABLES:
        return cell.column in settings_tables.ours(cell.table, cell.row, measured)
    figure = measured.accuracy(cell.model, cell.format, cell.subject)
    return figure is not None and figure.complete


def summary(found: Coverage) -> list[str]:
    """Return one line on all cells, and one for each table of the paper."""
    cells = len(found.filled) + len(found.empty)
    lines = [f"{count(len(found.filled))} of {count(cells)} cells of the paper's tables are filled"]
    for number, filled, of in _by_table(found):
        lines.append(f"{number}: {count(filled)} of {count(of)}")
    return lines


def section(found: Coverage, measured: Measured) -> list[Block]:
    """Return the blocks on empty cells: how many by table, and the commands that fill them."""
    rows = tuple(
        (number, count(of), count(filled), count(of - filled))
        for number, filled, of in _by_table(found)
    )
    blocks: list[Block] = [
        Heading("Empty cells"),
        Table(
            "Cells by table. Cells of models that this program cannot run are not counted "
            f"({count(len(found.others))} in Tables 5 and 6). The table of the training corpora is "
            "not counted either, because no run fills it.",
            ("table", "cells", "filled", "empty"),
            rows,
        ),
    ]
    partial = [c for c in found.empty if measured.accuracy(c.model, c.format, c.subject)]
    if partial:
        blocks.append(
            Paragraph(
                "Empty cells that have a figure of ours, but on fewer questions than the paper's: "
                f"{count(len(partial))}."
            )
        )
    lost = [cell for cell in found.empty if lost_files.is_lost(cell, measured)]
    rest = [cell for cell in found.empty if cell not in lost]
    if commands := fill_commands.groups(_models(rest), measured.trained):
        blocks.append(
            Paragraph(
                "These commands fill the empty cells, in the order in which to run them. They need "
                "the files that docs/how-to/reproduce-the-paper.md describes. Each loop is a "
                "single line of shell. Below the commands is a folded list of the cells, with the "
                "command for each model alone."
            )
        )
    blocks += (_commands(group, rest, measured) for group in commands)
    return [*blocks, *lost_files.section(lost, measured)]


def _commands(
    group: fill_commands.CommandGroup, empty: Sequence[PaperCell], measured: Measured
) -> Commands:
    cells = [cell for cell in empty if cell.model in group.models]
    if not cells:
        return Commands(group.title, group.note, group.commands)
    note = f"Fills {_places(cells)}. {group.note}".strip()
    folded = tuple(
        FoldedCommand(
            names_of_models.model(name),
            _named([cell for cell in cells if cell.model == name]),
            fill_commands.alone(name, measured.trained),
        )
        for name in dict.fromkeys(cell.model for cell in cells)
    )
    title = "The cells, and the command for each model alone"
    return Commands(group.title, note, group.commands, title, folded)


def _named(cells: Sequence[PaperCell]) -> str:
    """Return the names of the empty cells of a model, by table."""
    names: dict[str, list[str]] = {}
    for cell in cells:
        names.setdefault(_table_name(cell.table), []).append(_cell_name(cell))
    parts = (f"{table}: {', '.join(filter(None, own))}" for table, own in names.items())
    return "; ".join(part.removesuffix(": ") for part in parts)


def _cell_name(cell: PaperCell) -> str:
    """Return the place of a cell in its table beside its model; empty if it has only one."""
    if cell.table == settings_cells.DATA:
        column = names_of_models.data_column(cell.column)
        return f"{names_of_models.dataset(cell.row)} {column}"
    if cell.table in settings_cells.SETTINGS_TABLES:
        return names_of_models.setting(cell.column)
    if cell.table == "subjects":
        return names_of_models.subject(cell.row)
    one_place = ("teachers", "single_task")
    return "" if cell.table in one_place else names_of_models.dataset(cell.format)


def _places(cells: Sequence[PaperCell]) -> str:
    """Return how many cells of which tables these are."""
    numbers: dict[str, int] = {}
    for cell in cells:
        name = _table_name(cell.table)
        numbers[name] = numbers.get(name, 0) + 1
    return " and ".join(
        f"{count(number)} cell{'s' * (number > 1)} of {name}" for name, number in numbers.items()
    )


def _models(cells: Sequence[PaperCell]) -> list[str]:
    """Return the models and datasets of cells, in the order of `paper_models`."""
    found = {cell.model for cell in cells}
    return [name for name in (*paper_models.MODELS, *paper_models.DATASETS) if name in found]


def _table_name(key: str) -> str:
    settings = key in settings_cells.SETTINGS_TABLES
    unnumbered = "the hyper-parameters" if settings else "the single-task table"
    return printed.table(key).number or unnumbered


def _by_table(found: Coverage) -> list[tuple[str, int, int]]:
    """Return the name of each table, its filled cells, and all that can be filled."""
    numbers: dict[str, list[int]] = {}
    for key in TABLES:
        filled = sum(cell.table == key for cell in found.filled)
        empty = sum(cell.table == key for cell in found.empty)
        both = numbers.setdefault(_table_name(key), [0, 0])
        both[0] += filled
        both[1] += filled + empty
    return [(name, filled, of) for name, (filled, of) in numbers.items()]
