"""What a page is made of, and the page in Markdown. `page.py` writes the same blocks in HTML."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Heading:
    """A section's title."""

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
    """Something that the reader must not miss: a title, and one line an item."""

    title: str
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first column names the rows. Cells are text, made ready to be read."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)  # columns of words, set to the left


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawing. `name` is that of its file beside the Markdown page."""

    name: str
    svg: str
    caption: str
    description: str  # for those who cannot see it


@dataclasses.dataclass(frozen=True)
class Card:
    """An annotated sample in full: what it is, and its parts, each with a label."""

    title: str
    parts: tuple[tuple[str, str], ...]


Block = Heading | Subheading | Paragraph | Notice | Table | Figure | Card


def markdown(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """The page in Markdown; figures are linked as `figures/NAME.svg`."""
    parts = [f"# {title}", lede, *(_markdown(block) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Subheading(text):
            return f"### {text}"
        case Paragraph(text):
            return text
        case Notice(title, lines):
            return "\n".join([f"> **{title}**", ">", *(f"> - {line}" for line in lines)])
        case Table():
            return _markdown_table(block)
        case Figure(name, _, caption, description):
            return f"![{description}](figures/{name}.svg)\n\n*{caption}*"
        case Card(title, parts):
            said = [f"> **{title}**"]
            for label, text in parts:
                said += [">", f"> *{label}:* {' '.join(text.split())}"]
            return "\n".join(said)


def _markdown_table(table: Table) -> str:
    marks = ["---" if column in table.left else "---:" for column in range(len(table.header))]
    rows = (table.header, tuple(marks), *table.rows)
    lines = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return "\n".join([*lines, "", f"*{table.caption}*"])
