"""`make bench-report`: size of a report on many runs, and how long Chromium takes to open it.

300 training runs of 1,000 points each, in one figure, with a table of all runs. The time is that
from opening the file to its first paint and to its last script, the median of several openings.
Chromium or Google Chrome must be on PATH (on Debian: apt-get install chromium).
"""

import math
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks import harness
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import Block, Figure, Heading, Table
from teacherlm_jax.report.page import html_page

RUNS, POINTS, OPENINGS = 300, 1000, 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # as in the tests
MEGABYTES, SECONDS = 5, 2  # goals
TIMES = """() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    return [paint.startTime / 1000, navigation.loadEventEnd / 1000];
}"""


def page() -> str:
    """Return the page of all runs."""
    steps = list(range(10, 10 * POINTS + 1, 10))
    lines = [
        (
            f"sweep/rate_{run}",
            steps,
            [3 / (1 + step / 900) + 0.05 * math.sin(step * (run + 1)) + 0.3 for step in steps],
        )
        for run in range(RUNS)
    ]
    rows = tuple((name, f"{values[-1]:.3f}") for name, _, values in lines)
    blocks: list[Block] = [
        Heading("Training"),
        Figure("loss", figures.curves(lines, "step", "loss"), "Loss.", "Loss curves"),
        Table("Runs.", ("run", "loss"), rows),
    ]
    return html_page("Many runs", f"{RUNS} runs.", blocks)


def main() -> int:
    """Measure, and return the exit status."""
    source = page()
    size = len(source.encode()) / 1e6
    with tempfile.TemporaryDirectory(prefix="report") as folder, sync_playwright() as started:
        path = Path(folder) / "report.html"
        path.write_text(source, encoding="utf-8")
        browser = started.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox"],
        )
        times = []
        for _ in range(OPENINGS):
            opened = browser.new_page()
            opened.goto(path.as_uri())
            opened.wait_for_function(
                "performance.getEntriesByName('first-contentful-paint').length"
            )
            times.append(opened.evaluate(TIMES))
            opened.close()
        browser.close()
    paint, loaded = (statistics.median(column) for column in zip(*times, strict=True))
    rows = [
        ("size", f"{size:.2f} MB"),
        ("first paint", f"{paint:.2f} s"),
        ("all scripts have run", f"{loaded:.2f} s"),
    ]
    text = harness.table((f"{RUNS} runs of {POINTS:,} points", "figure"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "report", text + harness.conditions())
    return harness.finish(
        "report",
        f"{size:.2f} MB, open after {max(paint, loaded):.2f} s",
        f"at most {MEGABYTES} MB and {SECONDS} s",
        size <= MEGABYTES and max(paint, loaded) <= SECONDS,
        {"megabytes": size, "first_paint_seconds": paint, "loaded_seconds": loaded},
    )


if __name__ == "__main__":
    sys.exit(main())
