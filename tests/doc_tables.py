"""Tables of the documentation, to be compared with the code."""

import re
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def rows_of(page: str, first: str) -> list[list[str]]:
    """Return the cells of each row of a page's tables whose first cell matches a pattern.

    Code marks around a cell are left out.
    """
    lines = (REFERENCE / page).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")]
            for line in lines if line.startswith("| ")]  # fmt: skip
    return [row for row in rows if re.fullmatch(first, row[0])]


def numbers(cells: list[str]) -> list[float]:
    """Return the numbers in cells."""
    return [float(cell.replace(",", "")) for cell in cells]
