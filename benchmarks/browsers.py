"""Browsers that open the HTML pages in tests, benchmarks and for the picture of the README."""

import shutil
import sys

from playwright.sync_api import Browser, Playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")  # the first on PATH is taken
MISSING = f"none of {', '.join(PROGRAMS)} is on PATH; on Debian: apt-get install chromium"


def program() -> str | None:
    """Return the path of a browser; None if none is on PATH."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def launched(playwright: Playwright) -> Browser:
    """Start a headless browser; exit with a message if none is on PATH."""
    path = program()
    if path is None:
        sys.exit(MISSING)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
