"""A report on the runs of `conftest.py`, and the text of its page."""

import html.parser

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.build import report
from tests.make_run import make_run

VOID = {"meta", "br", "link", "img", "input"}


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects text and attributes."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.words, self.attributes = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def build(runs, folder):
    """Build the report on `runs` in a folder; return the folder and the result."""
    run = make_run(folder)
    return run.path, report(ReportConfig(output="", root=str(runs), title="Toys & <pears>"), run)


def build_again(built, runs):
    """Build the report once more, after runs have changed."""
    return build(runs, built[0])


def page_of(built) -> Page:
    """Return the page of a report."""
    return Page((built[0] / "report.html").read_text())
