"""`make bench-report`: size of reports on many runs, and how long Chromium takes to open them.

The reports are those of `teacherlm report` on folders of 300 finished training runs of 1,000 points
each, in two forms: all on one data set, and 15 sweeps of 20 runs, each on its own data. A third
page is that of `teacherlm report --samples` on 10,000 samples with three explanations each. The
times are those from opening the file to its first paint and until its scripts have run, the median
of several openings. Chromium or Google Chrome must be on PATH (on Debian: apt-get install
chromium).
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks import browsers, finished_runs, harness
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.build import report
from teacherlm_jax.runs import run_folder

RUNS, POINTS, SWEEPS, SAMPLES, OPENINGS = 300, 1000, 15, 10_000, 5
MEGABYTES, SECONDS, PAINT_SECONDS = 5, 2, 1  # goals; the last one is that of the reading page
_TIMES = """() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    const ready = performance.getEntriesByName("ready")[0]?.startTime ?? 0;  // of the reading page
    return [paint.startTime / 1000, Math.max(navigation.loadEventEnd, ready) / 1000];
}"""


@dataclasses.dataclass(frozen=True)
class Opened:
    """One page and its figures.

    Attributes:
        page: what is on it.
        writing: seconds that the command took to write it.
        megabytes: its size.
        first_paint: seconds until something is visible.
        loaded: seconds until its scripts have run.
        goals: the goals of these figures.
        met: whether they are met.
    """

    page: str
    writing: float
    megabytes: float
    first_paint: float
    loaded: float
    goals: str
    met: bool

    @property
    def row(self) -> tuple[str, ...]:
        """The figures as texts."""
        return (
            self.page,
            f"{self.writing:.1f} s",
            f"{self.megabytes:.2f} MB",
            f"{self.first_paint:.2f} s",
            f"{self.loaded:.2f} s",
            self.goals,
        )


def write_trainings(root: Path, sweeps: int) -> None:
    """Write all runs in folders of as many sweeps, each with its own data."""
    for number in range(RUNS):
        sweep, run = divmod(number, RUNS // sweeps)
        folder = root / f"sweep_{sweep}" / f"rate_{run}"
        finished_runs.write_training(folder, root / f"data_{sweep}", run, POINTS)


def many_runs(browser: Browser, folder: Path, sweeps: int) -> Opened:
    """Return the figures of a report on training runs."""
    write_trainings(folder / "runs", sweeps)
    config = ReportConfig(output=str(folder / "report"), root=str(folder / "runs"))
    writing, page = written(config)
    size, paint, loaded = opened(browser, page)
    on = "one data set" if sweeps == 1 else f"{sweeps} data sets, a sweep of {RUNS // sweeps} each"
    met = size <= MEGABYTES and max(paint, loaded) <= SECONDS
    goals = f"{MEGABYTES} MB, open within {SECONDS} s"
    return Opened(f"report on {RUNS} runs, {on}", writing, size, paint, loaded, goals, met)


def reading(browser: Browser, folder: Path) -> Opened:
    """Return the figures of the page for reading explanations."""
    finished_runs.write_annotation(folder / "annotate", SAMPLES)
    config = ReportConfig(output=str(folder / "report"), samples=(str(folder / "annotate"),))
    writing, page = written(config)
    size, paint, loaded = opened(browser, page)
    goals = f"first paint within {PAINT_SECONDS} s"
    met = paint <= PAINT_SECONDS
    return Opened(f"reading page, {SAMPLES:,} samples", writing, size, paint, loaded, goals, met)


def written(config: ReportConfig) -> tuple[float, Path]:
    """Write a report, and return the seconds that it took and the path of its page."""
    start = time.perf_counter()
    with run_folder.open_run(config.output, "report", config) as run:
        page = report(config, run)["page"]
    return time.perf_counter() - start, Path(page)


def opened(browser: Browser, page: Path) -> tuple[float, float, float]:
    """Return the megabytes of a page, and the median times until first paint and until loaded."""
    times = []
    for _ in range(OPENINGS):
        tab = browser.new_page()
        tab.goto(page.absolute().as_uri())
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        times.append(tab.evaluate(_TIMES))
        tab.close()
    paint, loaded = (statistics.median(column) for column in zip(*times, strict=True))
    return page.stat().st_size / 1e6, paint, loaded


def main() -> int:
    """Measure, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="report") as name, sync_playwright() as playwright:
        browser, folder = browsers.launched(playwright), Path(name)
        pages = [
            many_runs(browser, folder / "one", 1),
            many_runs(browser, folder / "many", SWEEPS),
            reading(browser, folder / "reading"),
        ]
        browser.close()
    header = ("page", "written in", "size", "first paint", "scripts have run", "goals")
    text = harness.table(header, [page.row for page in pages])
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "report", text + harness.conditions())
    *reports, samples = pages
    return harness.finish(
        "report",
        f"{max(page.megabytes for page in reports):.2f} MB, open after "
        f"{max(max(page.first_paint, page.loaded) for page in reports):.2f} s; "
        f"reading page after {samples.first_paint:.2f} s",
        f"at most {MEGABYTES} MB and {SECONDS} s; {PAINT_SECONDS} s",
        all(page.met for page in pages),
        {"pages": [dataclasses.asdict(page) for page in pages]},
    )


if __name__ == "__main__":
    sys.exit(main())
