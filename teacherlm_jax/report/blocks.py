"""The blocks that a page consists of, and how it writes numbers. `page.py` renders them."""

import dataclasses

from teacherlm_jax.report.drawing import Drawing

NO_FIGURE = "–"  # in place of a number that does not exist or was not recorded


@dataclasses.dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Subheading:
    """A title within a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Notice:
    """A highlighted box: a title, and one line per item."""

    title: str
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table with more than a text.

    Attributes:
        text: the formatted value.
        beside: what belongs to the value, such as its interval; shown smaller.
        order: value to sort by; None: the number at the beginning of the text, or else the text.
        best: whether the cell is marked as the best of its column.
    """

    text: str
    beside: str = ""
    order: float | None = None
    best: bool = False

    @property
    def whole(self) -> str:
        """Return the value and what belongs to it as one text."""
        return f"{self.text} ({self.beside})" if self.beside else self.text


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column names the rows. Readers can sort it by any column.

    Rows of totals stay below the others. With the text `folded`, the table is shown on a click on
    this text.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    left: tuple[int, ...] = (0,)  # columns that hold words and are aligned on the left
    totals: tuple[tuple[str | Cell, ...], ...] = ()
    folded: str = ""

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """Return header, rows and totals as texts."""
        rows = (
            tuple(cell.whole if isinstance(cell, Cell) else cell for cell in row)
            for row in (*self.rows, *self.totals)
        )
        return [self.header, *rows]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure. `name` is the name of its files, without the suffix."""

    name: str
    drawing: Drawing
    caption: str
    description: str  # alternative text for screen readers


@dataclasses.dataclass(frozen=True)
class Card:
    """An annotated sample in full: a title, and pairs of a label and a text."""

    title: str
    parts: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class CardColumns:
    """Cards in columns beside each other; each column has a title."""

    columns: tuple[tuple[str, tuple[Card, ...]], ...]


@dataclasses.dataclass(frozen=True)
class FoldedCommand:
    """A name, what the commands for it give, and their lines."""

    name: str
    gives: str
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Commands:
    """Command lines that a reader can copy, below a title and a note, which may be empty.

    A list below them is folded until a reader opens it by its title `summary`.
    """

    title: str
    note: str
    lines: tuple[str, ...]
    summary: str = ""
    folded: tuple[FoldedCommand, ...] = ()


Block = Heading | Subheading | Paragraph | Notice | Table | Figure | Card | CardColumns | Commands


def count(number: int) -> str:
    """Return 1234567 as `1,234,567`."""
    return f"{number:,}"


def rounded(number: float, digits: int) -> str:
    """Return a number with `digits` decimals and with commas between thousands."""
    return f"{number:,.{digits}f}"


def percent(share: float) -> str:
    """Return 0.5432 as `54.3`."""
    return f"{100 * share:.1f}"


def interval(low: float, high: float) -> str:
    """Return 0.51, 0.58 as `51.0 to 58.0`."""
    return f"{percent(low)} to {percent(high)}"
