"""The cells of the paper's tables that no run of ours fills, and the commands that would."""

import dataclasses
from collections.abc import Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import Block, Commands, Heading, Paragraph, Table, count
from teacherlm_jax.report.paper import fill_commands, paper_cells, printed
from teacherlm_jax.report.paper.measured import Measured
from teacherlm_jax.report.paper.paper_cells import PaperCell


@dataclasses.dataclass(frozen=True)
class Coverage:
    """The filled and the empty cells of the tables of accuracies.

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
    for cell in paper_cells.all_cells():
        figure = measured.accuracy(cell.model, cell.format, cell.subject)
        if figure and figure.complete:
            filled.append(cell)
        else:
            (empty if cell.can_be_filled else others).append(cell)
    return Coverage(tuple(filled), tuple(empty), tuple(others))


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
            f"({count(len(found.others))} in Tables 5 and 6).",
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
    commands = fill_commands.groups(_models(found.empty), measured.trained)
    if not commands:
        return blocks
    blocks.append(
        Paragraph(
            "These commands fill the empty cells, in the order in which to run them. They need the "
            "files that docs/how-to/reproduce-the-paper.md describes. Each loop is a single "
            "line of shell."
        )
    )
    return [*blocks, *(_commands(group, found.empty) for group in commands)]


def _commands(group: fill_commands.CommandGroup, empty: Sequence[PaperCell]) -> Commands:
    cells = [cell for cell in empty if cell.model in group.models]
    note = f"Fills {_places(cells)}." if cells else ""
    return Commands(group.title, f"{note} {group.note}".strip(), group.commands)


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
    """Return the models of cells, in the order of `paper_models`."""
    found = {cell.model for cell in cells}
    return [name for name in paper_models.MODELS if name in found]


def _table_name(key: str) -> str:
    return printed.table(key).number or "the single-task table"


def _by_table(found: Coverage) -> list[tuple[str, int, int]]:
    """Return the name of each table, its filled cells, and all that can be filled."""
    numbers: dict[str, list[int]] = {}
    for key in paper_cells.ACCURACY_TABLES:
        filled = sum(cell.table == key for cell in found.filled)
        empty = sum(cell.table == key for cell in found.empty)
        both = numbers.setdefault(_table_name(key), [0, 0])
        both[0] += filled
        both[1] += filled + empty
    return [(name, filled, of) for name, (filled, of) in numbers.items()]
