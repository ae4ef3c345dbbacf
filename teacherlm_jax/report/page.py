"""The files of a report: the page in HTML and in Markdown, its figures, and the console summary.

The HTML page is one file that loads nothing. It fits a phone and follows the reader's light or dark
setting.
"""

import functools
import html
from collections.abc import Sequence
from importlib import resources

from etils import epath

from teacherlm_jax.report.blocks import (
    Block,
    Card,
    Commands,
    Heading,
    Notice,
    Paragraph,
    Subheading,
    SvgFigure,
    Table,
)
from teacherlm_jax.report.figures import colour_variables, standalone
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files


def write(run: Run, title: str, lede: str, blocks: Sequence[Block], summary: str) -> epath.Path:
    """Write a report into a run folder and return the path of its HTML page.

    Writes `report.html`, `report.md` with its figures in `figures/`, and `summary.txt`.

    Args:
        run: the run folder.
        title: title of the page.
        lede: the paragraph below the title.
        blocks: content of the page.
        summary: content of `summary.txt`.
    """
    for block in blocks:
        if isinstance(block, SvgFigure):
            files.write_text(run.path / layout.FIGURES / f"{block.name}.svg", standalone(block.svg))
    files.write_text(run.path / layout.REPORT_HTML, html_page(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_MARKDOWN, markdown_page(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_TEXT, summary)
    return run.address / layout.REPORT_HTML


def html_page(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """Return the page as an HTML document."""
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    links = "".join(f'<a href="#{_anchor(text)}">{_escaped(text)}</a>' for text in headings)
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{_escaped(title)}</h1>\n<p class="lede">{_escaped(lede)}</p>\n'
        f"<nav>{links}</nav>\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


@functools.cache
def _style() -> str:
    sheet = resources.files("teacherlm_jax.report").joinpath("report.css")
    return f"\n{colour_variables()}\n{sheet.read_text(encoding='utf-8')}"


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f'<h2 id="{_anchor(text)}">{_escaped(text)}</h2>'
        case Subheading(text):
            return f"<h3>{_escaped(text)}</h3>"
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Notice(title, lines):
            items = "".join(f"<li>{_escaped(line)}</li>" for line in lines)
            return f'<div class="notice"><strong>{_escaped(title)}</strong><ul>{items}</ul></div>'
        case Table():
            return _html_table(block)
        case SvgFigure(_, svg, caption, description):
            label = f'role="img" aria-label="{_escaped(description)}"'
            return (
                f'<figure><div class="wide">{svg.replace("<svg ", f"<svg {label} ", 1)}</div>'
                f"<figcaption>{_escaped(caption)}</figcaption></figure>"
            )
        case Card(title, parts):
            terms = "".join(f"<dt>{_escaped(a)}</dt><dd>{_escaped(b)}</dd>" for a, b in parts)
            return f'<article class="card"><h4>{_escaped(title)}</h4><dl>{terms}</dl></article>'
        case Commands(title, note, lines):
            code = _escaped("\n".join(lines))
            below = f"<p>{_escaped(note)}</p>" if note else ""
            return (
                f'<article class="card"><h4>{_escaped(title)}</h4>{below}'
                f"<pre><code>{code}</code></pre></article>"
            )


def _html_table(table: Table) -> str:
    head = "".join(_cell("th", "col", table, place) for place in enumerate(table.header))
    body = []
    for row in table.rows:
        name, *values = enumerate(row)
        cells = _cell("th", "row", table, name)
        cells += "".join(_cell("td", "", table, value) for value in values)
        body.append(f"<tr>{cells}</tr>")
    return (
        f'<figure><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        f"<figcaption>{_escaped(table.caption)}</figcaption></figure>"
    )


def _cell(tag: str, scope: str, table: Table, place: tuple[int, str]) -> str:
    column, text = place
    scope_attribute = f' scope="{scope}"' if scope else ""
    left = ' class="left"' if column in table.left else ""
    return f"<{tag}{scope_attribute}{left}>{_escaped(text)}</{tag}>"


def _escaped(text: str) -> str:
    return html.escape(text)


def _anchor(text: str) -> str:
    return "-".join(text.lower().split())


def markdown_page(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """Return the page as Markdown that links its figures as `figures/NAME.svg`."""
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
        case SvgFigure(name, _, caption, description):
            return f"![{description}](figures/{name}.svg)\n\n*{caption}*"
        case Card(title, parts):
            quoted = [f"> **{title}**"]
            for label, text in parts:
                quoted += [">", f"> *{label}:* {' '.join(text.split())}"]
            return "\n".join(quoted)
        case Commands(title, note, lines):
            return "\n".join([f"**{title}** {note}".rstrip(), "", "```bash", *lines, "```"])


def _markdown_table(table: Table) -> str:
    marks = ["---" if column in table.left else "---:" for column in range(len(table.header))]
    rows = (table.header, tuple(marks), *table.rows)
    lines = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return "\n".join([*lines, "", f"*{table.caption}*"])
