"""The page in HTML: one file, readable on a phone, in light and in dark, with nothing fetched."""

import html
from collections.abc import Sequence

from teacherlm_jax.report.blocks import (
    Block,
    Card,
    Figure,
    Heading,
    Notice,
    Paragraph,
    Subheading,
    Table,
)
from teacherlm_jax.report.figures import COLOURS

_LIGHT = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
_DARK = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())

_CSS = f"""
:root {{
  {_LIGHT} --paper:#fcfcfb; --panel:#f4f4f2; --warn:#fbf3e2; color-scheme: light dark;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
}}
@media (prefers-color-scheme: dark) {{
  :root {{ {_DARK} --paper:#17191c; --panel:#1f2226; --warn:#2c2618; }}
}}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{
  margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 54rem;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 var(--serif);
}}
h1 {{ font-size: 2.1rem; line-height: 1.15; margin: 0 0 .6rem; letter-spacing: -.015em; }}
h2 {{
  font-size: 1.45rem; line-height: 1.2; margin: 3.5rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid var(--grid);
}}
h3 {{ font: 600 1rem/1.3 var(--sans); margin: 2.2rem 0 .6rem; }}
p {{ margin: 0 0 1rem; max-width: 42rem; }}
.lede {{ color: var(--muted); font-size: 1.15rem; }}
nav {{ font: .9rem/1.9 var(--sans); margin: 1.4rem 0 0; }}
nav a {{ margin-right: 1.1rem; }}
a {{ color: var(--series-1); text-decoration: none; }}
a:hover {{ text-decoration: underline; }}
figure {{ margin: 1.6rem 0 2rem; }}
figcaption {{
  font: .86rem/1.5 var(--sans); color: var(--muted); max-width: 42rem; padding-top: .5rem;
}}
.wide {{ overflow-x: auto; }}
.wide svg {{ display: block; width: 100%; max-width: 42rem; height: auto; }}
table {{ border-collapse: collapse; font: .88rem/1.4 var(--sans); min-width: 100%; }}
th, td {{ padding: .38rem .7rem .38rem 0; text-align: right; vertical-align: baseline; }}
th:last-child, td:last-child {{ padding-right: 0; }}
th {{ color: var(--muted); font-weight: 500; }}
thead th {{ border-bottom: 1px solid var(--muted); vertical-align: bottom; }}
tbody tr + tr > * {{ border-top: 1px solid var(--grid); }}
tbody th {{ color: var(--ink); font-weight: 500; white-space: nowrap; }}
td {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
.left {{ text-align: left; }}
.left:not(:first-child) {{ padding-left: .9rem; }}
.notice, .card {{ background: var(--panel); border-radius: .5rem; padding: 1rem 1.2rem; }}
.notice {{ background: var(--warn); font: .95rem/1.5 var(--sans); margin: 1.6rem 0; }}
.notice ul {{ margin: .4rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }}
.card {{ margin: 1.2rem 0; }}
.card h4 {{ font: .82rem/1.3 var(--sans); color: var(--muted); margin: 0 0 .7rem; }}
dl {{ margin: 0; }}
dt {{
  font: 600 .74rem/1.3 var(--sans); letter-spacing: .06em; text-transform: uppercase;
  color: var(--muted); margin-top: .8rem;
}}
dd {{ margin: .15rem 0 0; overflow-wrap: anywhere; white-space: pre-wrap; }}
@media (max-width: 40rem) {{
  body {{ padding-top: 1.6rem; font-size: 1rem; }}
  h1 {{ font-size: 1.7rem; }}
}}
@media print {{ body {{ max-width: none; }} figure, .card, tr {{ break-inside: avoid; }} }}
"""


def page(title: str, lede: str, blocks: Sequence[Block]) -> str:
    """The whole HTML file."""
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    links = "".join(f'<a href="#{_anchor(text)}">{_text(text)}</a>' for text in headings)
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{_text(title)}</h1>\n<p class="lede">{_text(lede)}</p>\n'
        f"<nav>{links}</nav>\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f'<h2 id="{_anchor(text)}">{_text(text)}</h2>'
        case Subheading(text):
            return f"<h3>{_text(text)}</h3>"
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Notice(title, lines):
            items = "".join(f"<li>{_text(line)}</li>" for line in lines)
            return f'<div class="notice"><strong>{_text(title)}</strong><ul>{items}</ul></div>'
        case Table():
            return _table(block)
        case Figure(_, svg, caption, description):
            drawing = svg.replace("<svg ", f'<svg role="img" aria-label="{_text(description)}" ', 1)
            return (
                f'<figure><div class="wide">{drawing}</div>'
                f"<figcaption>{_text(caption)}</figcaption></figure>"
            )
        case Card(title, parts):
            listed = "".join(f"<dt>{_text(a)}</dt><dd>{_text(b)}</dd>" for a, b in parts)
            return f'<article class="card"><h4>{_text(title)}</h4><dl>{listed}</dl></article>'


def _table(table: Table) -> str:
    head = "".join(_cell("th", "col", table, place) for place in enumerate(table.header))
    body = []
    for row in table.rows:
        name, *cells = enumerate(row)
        written = _cell("th", "row", table, name)
        written += "".join(_cell("td", "", table, cell) for cell in cells)
        body.append(f"<tr>{written}</tr>")
    return (
        f'<figure><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        f"<figcaption>{_text(table.caption)}</figcaption></figure>"
    )


def _cell(tag: str, scope: str, table: Table, place: tuple[int, str]) -> str:
    column, text = place
    scoped = f' scope="{scope}"' if scope else ""
    left = ' class="left"' if column in table.left else ""
    return f"<{tag}{scoped}{left}>{_text(text)}</{tag}>"


def _text(text: str) -> str:
    return html.escape(text)


def _anchor(text: str) -> str:
    return "-".join(text.lower().split())
