"""The documentation site: it builds without a warning, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests import doc_blocks
from tests.doc_blocks import ROOT

# Colab's own picture, which a notebook shows on GitHub, too.
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    (recipe,) = re.findall(r"-m (sphinx .*) \. docs/_build/html", (ROOT / "Makefile").read_text())
    words = recipe.replace("docs/_build/doctrees", str(folder / "doctrees")).split()
    done = subprocess.run(
        [sys.executable, "-m", *words, ".", str(folder / "html")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / "html"


class Page(HTMLParser):
    """The ids of a page, and what it links to, loads, or sends forms to."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.forms = set(), set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])
        elif tag == "form":
            self.forms.add(values.get("action", ""))
        elif tag in ("img", "script", "link") and (source := values.get("src", values.get("href"))):
            self.loaded.add(source)


@pytest.fixture(scope="module")
def parsed(site):
    paths = (path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {path: Page(path) for path in paths}


def test_every_page_of_the_repository_is_on_the_site_and_in_its_sidebar(site, parsed):
    front = parsed[site / "index.html"].links
    for name in doc_blocks.pages():
        page = Path(name).with_suffix(".html")
        assert site / page in parsed
        assert name == "README.md" or str(page) in front, name


def test_every_link_leads_to_a_file_and_a_heading(site, parsed):
    for path, page in parsed.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in parsed:
                assert unquote(parts.fragment) in parsed[target].ids, f"{path}: {link}"


def test_the_form_on_each_page_searches_an_index_of_all_pages(site, parsed):
    for path, page in parsed.items():
        targets = {path.parent / (urlsplit(action).path or path.name) for action in page.forms}
        assert site / "search.html" in {target.resolve() for target in targets}, path
    assert "searchindex.js" in parsed[site / "search.html"].loaded
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for name in doc_blocks.pages():
        assert f'"{Path(name).with_suffix("")}"' in index, name


def test_pages_load_nothing_from_other_sites_but_the_badge_of_notebooks(parsed):
    for path, page in parsed.items():
        loaded = [url for url in page.loaded if urlsplit(url).netloc]
        assert loaded == ([BADGE] if path.parent.name == "notebooks" else []), path


def test_keys_of_the_config_have_their_help_and_arrays_their_shapes(site):
    keys = (site / "docs/reference/api/teacherlm_jax.config.html").read_text(encoding="utf-8")
    assert "Peak learning rate" in keys
    shapes = (site / "docs/reference/api/teacherlm_jax.training.loss.html").read_text("utf-8")
    assert "B T" in re.sub(r"<[^>]*>", "", shapes)
