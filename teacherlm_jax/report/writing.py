"""The files that every report is made of."""

from collections.abc import Sequence
from pathlib import Path

from teacherlm_jax.report.blocks import Block, Figure, markdown
from teacherlm_jax.report.figures import standalone
from teacherlm_jax.report.html_page import page
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files


def write(run: Run, title: str, lede: str, blocks: Sequence[Block], told: str) -> Path:
    """Writes `report.html` (self-contained), `report.md` with `figures/`, and `summary.txt`.

    `told` is the summary. Returns where the page lies.
    """
    for block in blocks:
        if isinstance(block, Figure):
            files.write_text(run.path / layout.FIGURES / f"{block.name}.svg", standalone(block.svg))
    files.write_text(run.path / layout.REPORT_HTML, page(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_MARKDOWN, markdown(title, lede, blocks))
    files.write_text(run.path / layout.REPORT_TEXT, told)
    return run.path / layout.REPORT_HTML
