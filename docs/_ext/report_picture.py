"""Take the picture of a report for README.md: make report-picture, after make quickstart."""

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks import browsers

SIZE = {"width": 900, "height": 950}  # title, first figure and first table


def take(report: Path, picture: Path) -> None:
    """Write a picture of the first screen of a report, in its light colours.

    Exits with a message if the report or the browser is missing.
    """
    if not report.is_file():
        sys.exit(f"{report}: no such file; run make quickstart first")
    with sync_playwright() as playwright:
        browser = browsers.launched(playwright)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.screenshot(path=picture)
        browser.close()
    Image.open(picture).quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
