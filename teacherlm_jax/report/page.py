"""The files of a report: the page in HTML and in Markdown, its figures, and the console summary.

The HTML page is one file that loads nothing. It fits a phone, can be printed, and follows the
reader's light or dark setting. Without JavaScript, tables cannot be sorted and figures cannot be
changed; all else is there.
"""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import jinja2
from etils import epath

from teacherlm_jax.report import drawing
from teacherlm_jax.report.blocks import Block, Cell, Figure
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.wording import printable

_SVG = ".svg"
_FILTER_FROM = 8  # tables with more rows can be filtered
_MARKUP = re.compile(r"[\\`\[\]|*~$]|(?<![^\W_])_|_(?![^\W_])")


def write(run: Run, title: str, lede: str, blocks: Sequence[Block], summary: str) -> epath.Path:
    """Write a report into a run folder and return the path of its HTML page.

    Writes `report.html`, `report.md` with its figures in `figures/`, and `summary.txt`. Figures of
    an earlier report that are not in this one are removed.

    Args:
        run: the run folder.
        title: title of the page.
        lede: the paragraph below the title.
        blocks: content of the page.
        summary: content of `summary.txt`, which gets no control characters.
    """
    blocks = _sharing_points(with_file_names(blocks))
    _write_figures(run.path / layout.FIGURES, blocks)
    files.write_text(run.path / layout.REPORT_HTML, html_page(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_MARKDOWN, markdown_page(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_TEXT, printable(summary))
    return run.address / layout.REPORT_HTML


def _write_figures(folder: epath.Path, blocks: Sequence[Block]) -> None:
    drawn = {f"{block.name}{_SVG}": block for block in blocks if isinstance(block, Figure)}
    for name, figure in drawn.items():
        files.write_text(folder / name, drawing.standalone(figure.drawing.svg))
    for name in files.names(folder):
        if name.endswith(_SVG) and name not in drawn:
            files.remove(folder / name)


def with_file_names(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with names of figures that differ and suit files and links."""
    named: list[Block] = []
    taken: set[str] = set()
    for block in blocks:
        if isinstance(block, Figure):
            plain = re.sub(r"[^A-Za-z0-9._-]+", "-", block.name)
            counted = (f"{plain}-{number}" for number in itertools.count(2))
            name = plain
            while name in taken:
                name = next(counted)
            taken.add(name)
            block = dataclasses.replace(block, name=name)
        named.append(block)
    return named


def _sharing_points(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with figures whose curves have a limited number of points together."""
    drawings = [block.drawing for block in blocks if isinstance(block, Figure)]
    most = drawing.points_each([curve for drawn in drawings for curve in drawn.curves])
    return [
        dataclasses.replace(block, drawing=dataclasses.replace(block.drawing, most=most))
        if isinstance(block, Figure)
        else block
        for block in blocks
    ]


def html_page(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """Return the page as an HTML document."""
    drawings = {block.name: block.drawing.data() for block in blocks if isinstance(block, Figure)}
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=title,
            lede=lede,
            blocks=blocks,
            style=f"{drawing.colour_variables()}\n{_text('report.css')}",
            script=_text("report.js"),
            drawings=json.dumps(drawings, separators=(",", ":")).replace("<", "\\u003c"),
            colours=json.dumps({name: light for name, (light, _) in drawing.COLOURS.items()}),
            library=drawing.library,
            filter_from=_FILTER_FROM,
        )
    )


def markdown_page(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """Return the page as Markdown that links its figures as `figures/NAME.svg`."""
    template = _templates().get_template("report.md")
    return template.render(title=title, lede=lede, blocks=blocks)


@functools.cache
def _templates() -> jinja2.Environment:
    """Return the templates; values are escaped in those of HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _text(f"templates/{name}")),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[[Any], Any]] = {
        "kind": lambda block: type(block).__name__,
        "anchor": lambda text: "-".join(text.lower().split()),
        "as_cell": lambda value: value if isinstance(value, Cell) else Cell(value),
        "first_sentence": lambda text: text.split(". ")[0].removesuffix("."),
        "md": markdown_line,
        "whole": _whole,
    }
    environment.filters |= filters
    return environment


def _whole(cell: Cell) -> str:
    """Return a cell as one text in Markdown, the best one of its column in bold."""
    return f"**{markdown_line(cell.whole)}**" if cell.best else markdown_line(cell.whole)


def markdown_line(text: str) -> str:
    """Return a text as one line of Markdown, or a cell, that shows every character of it.

    HTML, links, code, emphasis, formulas and the end of a cell are escaped. An underscore within a
    word begins no emphasis and stays as it is.
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\g<0>", plain)


def _text(name: str) -> str:
    return resources.files("teacherlm_jax.report").joinpath(name).read_text(encoding="utf-8")
