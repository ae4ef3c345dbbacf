"""The report on ratings in Chromium, on a phone and on a desk."""

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.reading.ratings_report import report_ratings
from tests.make_run import make_run


@pytest.fixture
def source(rate, tmp_path):
    lines = [(f"s-{n}", "cot", 4 + n % 2, 2 + n % 2, "left" if n < 8 else "tie") for n in range(10)]
    run = make_run(tmp_path / "report")
    report_ratings(ReportConfig(ratings=(str(rate("anna", lines)),), title="Toys"), run)
    return (run.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(390, 800), (1200, 900)])
def test_every_win_rate_and_mean_is_visible_with_its_interval(opened, source, size):
    page = opened(source, size)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    intervals = page.locator(".beside").all()
    assert len(intervals) == 3  # a win rate, and the means of two teachers
    for interval in intervals:
        box = interval.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
