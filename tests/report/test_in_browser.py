"""The page in Chromium: on a phone and on a desk, in light and in dark."""

import csv
import math
import re

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import Commands, Figure, FoldedCommand, Heading, Table
from teacherlm_jax.report.build import report
from teacherlm_jax.report.page import html_page
from teacherlm_jax.storage import files
from tests.make_run import make_run
from tests.report import on_paper
from tests.report.answered import change

PHONE, DESK = (390, 800), (1200, 900)


@pytest.fixture
def source(students):
    """Return a page with all sections: also comparisons, contamination and costs."""
    path = students / "evaluate_stage1" / "result.json"
    result = files.read_json(path)
    clean = {"rows": 600, "accuracy": 0.35, "interval": [0.31, 0.39]}
    found = {"flagged": 200, "not_compared": 3, "flagged_accuracy": 0.59, "clean": clean}
    result["benchmarks"]["generated"]["contamination"] = found
    files.write_json(path, result)
    costs = {"texts": 1000, "tokens": 2500, "seconds": 60.0}
    change(students / "student_data" / "result.json", costs=costs)
    run = make_run(students / "report")
    report(ReportConfig(output="", root=str(students), title="Toys & <pears>"), run)
    return (run.path / "report.html").read_text(encoding="utf-8")


def _column(page, index):
    cells = page.locator("table").first.locator(f"tbody tr:visible > :nth-child({index})")
    return [text.split()[0] for text in cells.all_inner_texts()]


def test_a_click_on_a_header_sorts_by_number_and_then_the_other_way(opened, source):
    page = opened(source)
    accuracy = page.locator("table").first.get_by_role("button", name="accuracy")
    assert _column(page, 2) == ["41.0", "78.0", "84.0", "55.0"]
    accuracy.click()
    assert _column(page, 2) == ["41.0", "55.0", "78.0", "84.0"]
    accuracy.press("Enter")
    assert _column(page, 2) == ["84.0", "78.0", "55.0", "41.0"]
    head = page.locator("table").first.locator("th", has_text="accuracy")
    assert head.get_attribute("aria-sort") == "descending"


def test_a_folded_table_is_opened_and_filtered_by_name(opened):
    rows = tuple((f"{one} − {other}", "1") for one, other in ("ab", "ac", "bc"))
    page = opened(html_page("t", "l", [Table("Pairs.", ("pair", "n"), rows, folded="3 pairs")]))
    assert not page.locator("table").is_visible()
    page.get_by_text("3 pairs").click()
    page.get_by_label("Filter").fill("a")
    assert _column(page, 1) == ["a", "a"]


def test_missing_values_come_last_and_words_are_sorted_as_words(opened):
    rows = tuple(
        (name, value) for name, value in zip("cabd", ("2", "–", "10", "1,000"), strict=True)
    )
    page = opened(html_page("t", "l", [Table("Numbers.", ("name", "value"), rows)]))
    page.get_by_role("button", name="value").click()
    assert _column(page, 2) == ["2", "10", "1,000", "–"]
    page.get_by_role("button", name="value").click()
    assert _column(page, 2) == ["1,000", "10", "2", "–"]
    page.get_by_role("button", name="name").click()
    assert _column(page, 1) == ["a", "b", "c", "d"]


def test_totals_stay_below_the_sorted_rows(opened):
    rows, totals = (("a", "2"), ("b", "3")), (("total", "5"),)
    page = opened(html_page("t", "l", [Table("Sums.", ("name", "value"), rows, totals=totals)]))
    for _ in range(2):
        page.get_by_role("button", name="value").click()
    assert page.locator("tbody th").all_inner_texts() == ["b", "a"]
    assert page.locator("table tr").last.inner_text().split() == ["total", "5"]


def test_signed_numbers_and_bounds_are_sorted_as_numbers_and_names_with_digits_as_words(opened):
    rows = tuple(zip(("2 b", "10 a", "1 c"), ("−1.5", "+0.5", "< 0.001"), strict=True))
    page = opened(html_page("t", "l", [Table("Numbers.", ("name", "value"), rows)]))
    page.get_by_role("button", name="value").click()
    assert page.locator("tbody td").all_inner_texts() == ["−1.5", "< 0.001", "+0.5"]
    page.get_by_role("button", name="name").click()
    assert page.locator("tbody th").all_inner_texts() == ["1 c", "2 b", "10 a"]


def test_a_long_table_is_filtered_by_words(opened):
    rows = tuple((f"run {index}", "evaluate") for index in range(30))
    page = opened(html_page("t", "l", [Table("Runs.", ("name", "value"), rows)]))
    page.get_by_label("Filter").fill("2 RUN")
    assert page.locator("tbody tr:visible").count() == 12
    page.get_by_label("Filter").fill("nothing")
    assert page.locator("tbody tr:visible").count() == 0


def _line(page):
    return page.locator("figure.chart path[stroke-width='1.6']").first.get_attribute("d")


def test_a_curve_changes_with_the_scale_and_with_smoothing(opened):
    steps = list(range(1, 101))
    lines = [("run", steps, [2 + math.sin(step) for step in steps])]
    drawn = figures.curves(lines, "step", "loss")
    page = opened(html_page("t", "l", [Figure("loss", drawn, "Loss.", "A loss curve")]))
    before = _line(page)
    page.get_by_label("log scale").check()
    page.wait_for_selector("figure[data-drawn]")
    logarithmic = _line(page)
    page.get_by_label("smoothing").fill("0.95")
    page.wait_for_function("document.querySelector('figure').dataset.drawn.includes('0.95')")
    smooth = _line(page)
    assert len({before, logarithmic, smooth}) == 3
    heights = [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", smooth)]
    rough = [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", logarithmic)]
    assert max(heights[50:]) - min(heights[50:]) < 0.2 * (max(rough[50:]) - min(rough[50:]))


def _saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).first.click()
    return download.value.path().read_text(encoding="utf-8"), download.value.suggested_filename


def test_a_figure_is_saved_as_svg_and_its_numbers_as_csv(opened):
    lines = [('a "quoted", name', [1, 2], [2.5, 1.25])]
    drawn = figures.curves(lines, "step", "loss")
    page = opened(html_page("t", "l", [Figure("loss", drawn, "Loss.", "A loss curve")]))
    text, name = _saved(page, "numbers")
    assert name == "loss.csv"
    assert list(csv.reader(text.splitlines())) == [
        ["run", "step", "value"],
        ['a "quoted", name', "1", "2.5"],
        ['a "quoted", name', "2", "1.25"],
    ]
    svg, name = _saved(page, "as SVG")
    assert name == "loss.svg" and svg.startswith("<svg") and "var(--" not in svg
    assert '<rect width="100%" height="100%" fill="#fcfcfb"' in svg


def test_a_figure_that_is_saved_in_the_dark_scheme_keeps_its_background(opened):
    drawn = figures.curves([("a", [1, 2], [2.5, 1.25])], "step", "loss")
    page = html_page("t", "l", [Figure("loss", drawn, "Loss.", "A loss curve")])
    svg, _ = _saved(opened(page, DESK, "dark"), "as SVG")
    assert '<rect width="100%" height="100%" fill="#17191c"' in svg


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_serious_finding_of_axe(opened, source, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(source, size, scheme)
    found = axe.run(page).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert not [(rule["id"], [node["html"] for node in rule["nodes"][:3]]) for rule in serious]


def test_a_column_without_a_title_has_a_button_with_a_name(opened):
    page = opened(html_page("t", "l", [Table("Numbers.", ("", "value"), (("b", "1"), ("a", "2")))]))
    page.get_by_role("button", name="names of the rows").click()
    assert _column(page, 1) == ["a", "b"]


def test_on_a_phone_only_tables_scroll_and_every_interval_is_visible(opened, source):
    page = opened(source, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    tables = page.locator("figure.table", has_text="95% CI").all()
    assert len(tables) == 5  # accuracy on three benchmarks, differences, contamination
    for table in tables:
        intervals = table.locator(".beside").all()
        assert intervals
        for interval in intervals:
            box = interval.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0]
    table = page.locator(".wide", has=page.locator("table")).first
    first = table.locator("tbody th").first
    before = first.bounding_box()["x"]
    table.evaluate("node => { node.scrollLeft = 80; }")
    assert table.evaluate("node => node.scrollLeft") > 0
    assert first.bounding_box()["x"] == pytest.approx(before, abs=1)


def test_the_text_of_figures_can_be_read_on_a_phone_and_is_not_huge_on_a_desk(opened, source):
    sizes = """[...document.querySelectorAll('.drawing text')].map(text => {
        const at = text.getScreenCTM();
        return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(at.a, at.b);
    })"""
    assert min(opened(source, PHONE).evaluate(sizes)) >= 10
    assert max(opened(source, DESK).evaluate(sizes)) <= 18


def test_on_a_desk_no_table_is_wider_than_its_place(opened, source):
    page = opened(source, DESK)
    wide = "[...document.querySelectorAll('.wide')].filter(n => n.scrollWidth > n.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map(n => n.ariaLabel)") == []


def test_on_paper_no_table_or_figure_is_clipped(opened, source):
    on_paper.check_nothing_is_clipped(opened(source, on_paper.A4))


def test_folded_tables_and_commands_are_printed_and_folded_again(opened):
    blocks = [
        Table("Pairs.", ("pair", "difference"), (("a", "1"),)),
        Table("All pairs.", ("pair", "difference"), (("b", "2"),), folded="The other pairs"),
        Commands("Run", "", ("ls",), "Each alone", (FoldedCommand("a", "cell", ("ls a",)),)),
    ]
    page = opened(html_page("t", "l", blocks), on_paper.A4)
    page.evaluate("""() => addEventListener("beforeprint", () => {
        window.shown = [...document.querySelectorAll("table, dl")].map(n => n.checkVisibility());
    })""")
    page.pdf()
    assert page.evaluate("window.shown") == [True] * 3
    assert page.locator("details[open]").count() == 0
    on_paper.check_nothing_is_clipped(page, 1)


def test_the_labels_of_a_legend_keep_their_distance_from_the_next_symbol(opened):
    groups = [(name, {"finished": 0.9}) for name in ("chain of thought", "fundamentals")]
    drawn = figures.share_dots(groups)
    page = opened(html_page("t", "l", [Figure("gates", drawn, "Gates.", "Shares")]))
    label = page.locator(".role-legend-label text").first.bounding_box()
    symbol = page.locator(".role-legend-symbol path").nth(1).bounding_box()
    assert symbol["x"] - label["x"] - label["width"] > 12


def test_without_scripts_figures_and_tables_are_there(opened, source):
    page = opened(source, java_script_enabled=False)
    assert page.locator("figure.chart svg").count() == page.locator("figure.chart").count() > 0
    assert page.get_by_text("student_CMF").first.is_visible()


def test_three_hundred_runs_of_a_thousand_points_stay_below_five_megabytes(opened):
    steps = list(range(10, 10_001, 10))
    lines = [
        (f"sweep/rate_{index}", steps, [3 / (1 + step / 900) + index / 977 for step in steps])
        for index in range(300)
    ]
    rows = tuple((name, f"{values[-1]:.3f}") for name, _, values in lines)
    drawn = figures.curves(lines, "step", "loss")
    blocks = [
        Heading("Runs"),
        Figure("loss", drawn, "Loss.", "Curves"),
        Table("Runs.", ("run", "loss"), rows),
    ]
    source = html_page("Many", "300 runs.", blocks)
    assert len(source.encode()) < 5_000_000
    page = opened(source)
    page.get_by_label("smoothing").fill("0.5")
    page.wait_for_selector("figure[data-drawn]", timeout=60_000)
    assert page.locator("figure.chart path[stroke-width='0.8']").count() == 300
