"""The page of `report --paper` in Chromium, with our figures beside those of the paper."""

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.paper import paper_cells, printed
from teacherlm_jax.report.paper.paper_page import report_paper
from teacherlm_jax.storage import files
from tests.make_run import make_run
from tests.report import on_paper

PHONE, DESK = (390, 800), (1200, 900)


@pytest.fixture
def source(runs):
    """The page on runs that fill cells of the tables of subjects and of students."""
    subjects = {cell.model for cell in paper_cells.cells("subjects") if cell.can_be_filled}
    benchmarks = {
        "mmlu": {
            subject.replace("_", " "): {"rows": 100, "accuracy": 0.31}
            for subject in printed.table("subjects").rows
        },
        "creak": {"": {"rows": 1371, "accuracy": 0.62}},
    }
    models = [*sorted(subjects), "student/opt-1.3b/multi/text", "student/opt-1.3b/multi/CMF"]
    template = files.read_json(runs / "evaluate_stage2/result.json")
    for number, model in enumerate(models):
        folder = runs / f"paper_{number}"
        named = [{"name": name, "format": name} for name in benchmarks]
        config = {"benchmarks": named, "stands_for": model}
        files.write_json(folder / "config.json", {"verb": "evaluate", "config": config})
        results = {
            name: template["benchmarks"]["mmlu"] | {"by_subject": by_subject}
            for name, by_subject in benchmarks.items()
        }
        files.write_json(folder / "result.json", template | {"benchmarks": results})
    run = make_run(runs / "report")
    assert report_paper(ReportConfig(output="", root=str(runs), paper=True), run)["filled"] > 100
    return (run.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_serious_finding_of_axe(opened, source, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(opened(source, size, scheme)).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert not [(rule["id"], [node["html"] for node in rule["nodes"][:3]]) for rule in serious]


def test_on_a_phone_the_page_itself_does_not_scroll_sideways(opened, source):
    page = opened(source, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_on_a_desk_no_table_is_wider_than_its_place(opened, source):
    page = opened(source, DESK)
    wide = "[...document.querySelectorAll('.wide')].filter(n => n.scrollWidth > n.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map(n => n.ariaLabel)") == []


def test_on_paper_no_table_or_figure_is_clipped(opened, source):
    on_paper.check_nothing_is_clipped(opened(source, on_paper.A4))
