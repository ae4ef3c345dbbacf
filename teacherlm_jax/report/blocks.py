"""The blocks that a page consists of, and how it writes numbers. `page.py` renders them."""

import dataclasses


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
class Table:
    """A table whose first column names the rows. Cells hold formatted text."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)  # columns that hold words and are aligned on the left


@dataclasses.dataclass(frozen=True)
class SvgFigure:
    """A figure. `name` is the name of its SVG file, without the suffix."""

    name: str
    svg: str
    caption: str
    description: str  # alternative text for screen readers


@dataclasses.dataclass(frozen=True)
class Card:
    """An annotated sample in full: a title, and pairs of a label and a text."""

    title: str
    parts: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Commands:
    """Command lines that a reader can copy, below a title and a note, which may be empty."""

    title: str
    note: str
    lines: tuple[str, ...]


Block = Heading | Subheading | Paragraph | Notice | Table | SvgFigure | Card | Commands


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
