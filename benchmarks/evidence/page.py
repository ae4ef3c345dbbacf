"""Fill docs/explanation/evidence.md: its tables and figures."""

from collections.abc import Collection

import vl_convert

from benchmarks import harness
from benchmarks.evidence import claims, figures
from benchmarks.evidence.outcomes import Rows
from benchmarks.evidence.tables import TABLES

NOT_RUN = "*Not run yet.*\n"
PAGE = harness.DOCS / "explanation" / "evidence.md"


def write(name: str, rows: Rows, conditions: str = "") -> None:
    """Replace the tables of a part, or other ones, on the page, from the outcomes of all parts."""
    tables = TABLES[name](rows)
    harness.put_into(PAGE, name, f"{tables}\n{conditions}" if tables else NOT_RUN)


def write_missing(part: str) -> None:
    """Say that a part has not been run, in the place of its tables."""
    harness.put_into(PAGE, part, NOT_RUN)


def write_claims(rows: Rows, run_parts: Collection[str]) -> None:
    """Replace the tables of the paper's claims; `run_parts` are those with recorded outcomes."""
    harness.put_into(PAGE, "claims", claims.table(rows, run_parts))
    harness.put_into(PAGE, "paper", claims.paper_table())


def write_figures(rows: Rows) -> None:
    """Replace the figures on the page, and remove those of questions without outcomes."""
    for question in figures.questions(rows):
        path = PAGE.parent / f"evidence-{question.name}.svg"
        text = ""
        if question.points:
            svg = vl_convert.vegalite_to_svg(figures.drawn(question).to_json())
            path.write_text(svg, encoding="utf-8")
            text = f"![{question.alt_text}]({path.name})\n"
        else:
            path.unlink(missing_ok=True)
        harness.put_into(PAGE, f"figure-{question.name}", text)
