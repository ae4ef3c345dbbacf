"""The paper's own numbers, which are part of the package: TeacherLM, arXiv 2310.19019v2."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

STUDENT_BENCHMARKS = ("mmlu", "creak", "ecqa", "strategyqa")  # formats, in the order of Table 7

Row = tuple[float | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """One table of the paper.

    Attributes:
        number: as in "Table 1"; empty if it is not known here.
        title: what it measures.
        note: description for the reader.
        decimals: decimals of its numbers.
        columns: names of the columns.
        rows: numbers by name of the row, one per column; None: not in the paper.
        averages: the printed average of each column; empty if there are none.
        misprints: (row, column) of numbers that are shown and not compared with anything.
    """

    number: str
    title: str
    note: str
    decimals: int
    columns: tuple[str, ...]
    rows: Mapping[str, Row]
    averages: Row = ()
    misprints: frozenset[tuple[str, str]] = frozenset()

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number}: {self.title}" if self.number else self.title

    def value(self, row: str, column: str) -> float | None:
        """Return a printed number; None if there is none, or if it is a misprint."""
        return None if (row, column) in self.misprints else self._number(row, column)

    def misprint(self, row: str, column: str) -> float | None:
        """Return a misprinted number as the paper prints it; None if it is not a misprint."""
        return self._number(row, column) if (row, column) in self.misprints else None

    def _number(self, row: str, column: str) -> float | None:
        return self.rows[row][self.columns.index(column)]


@functools.cache
def source() -> str:
    """Return the version of the paper."""
    return _content()["source"]


@functools.cache
def table(name: str) -> PrintedTable:
    """Return a table by its key in `paper_results.json`."""
    content = _content()["tables"][name]
    return PrintedTable(
        number=content["number"],
        title=content["title"],
        note=content["note"],
        decimals=content["decimals"],
        columns=tuple(content["columns"]),
        rows={row: tuple(values) for row, values in content["rows"].items()},
        averages=tuple(content.get("averages", ())),
        misprints=frozenset((row, column) for row, column in content.get("misprints", ())),
    )


@functools.cache
def names() -> tuple[str, ...]:
    """Return the keys of all tables."""
    return tuple(_content()["tables"])


def is_mean_of_subjects(format: str) -> bool:
    """Return whether the paper reports a benchmark, by its format, as a mean over subjects."""
    return format == "mmlu"


def tables_of(format: str) -> list[PrintedTable]:
    """Return the tables of teachers and students for a benchmark, by its format."""
    teachers = [table("teachers")] if format == "mmlu" else []
    students = [table(f"students_{format}")] if format in STUDENT_BENCHMARKS else []
    return [*teachers, *students]


@functools.cache
def _content() -> Mapping[str, Any]:
    file = resources.files("teacherlm_jax.report.paper").joinpath("paper_results.json")
    return json.loads(file.read_text(encoding="utf-8"))
