"""The sidebar, the front page and the links of the site.

docs/README.md is the only list of pages. Its headings and lists become the sidebar, so the list
reads well on GitHub, too, and nothing is listed twice.
"""

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INDEX = "docs/README.md"
FRONT = "README"
_GROUP = re.compile(r"[A-Z][\w ]{,30}")  # a line of its own, without a full stop
_LINK = re.compile(r"\[([^\]]+)\]\(([^):#\s]+)\)")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", add_sidebar)
    app.connect("source-read", unlink_folders)
    app.connect("build-finished", write_front_page)
    return {"parallel_read_safe": True}


def add_sidebar(app: Any, document: str, source: list[str]) -> None:
    """Append to the front page one toctree for each list of docs/README.md."""
    if document != FRONT:
        return
    index = (Path(app.srcdir) / INDEX).read_text(encoding="utf-8")
    trees = [("", [("All pages", "docs/README")]), *sections(index)]
    source[0] += "\n\n" + "\n\n".join(toctree(caption, pages) for caption, pages in trees)


def unlink_folders(app: Any, document: str, source: list[str]) -> None:
    """Turn links to folders of the repository into text: the site has no page for them."""
    if document.startswith("notebooks/"):
        return
    here = (Path(app.srcdir) / document).parent

    def text_of(match: re.Match[str]) -> str:
        return match[1] if (here / match[2]).is_dir() else match[0]

    source[0] = _LINK.sub(text_of, source[0])


def sections(index: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (caption, pages) for each list of the index; a page is (title, document)."""
    heading, group, pages = "", "", []
    for line in [*index.splitlines(), "## "]:
        starts = line.startswith("## ") or _GROUP.fullmatch(line)
        if starts and pages:
            yield f"{heading}: {group.lower()}" if group else heading, pages
            pages = []
        if line.startswith("## "):
            heading, group = line.removeprefix("## "), ""
        elif starts:
            group = line
        elif line.startswith("- "):
            links = _LINK.findall(line)[: 1 if line.startswith("- [") else None]
            pages += [(title[:1].upper() + title[1:], document_of(link)) for title, link in links]


def document_of(link: str) -> str:
    """Return the name that Sphinx gives to the page of a link in the index."""
    return posixpath.splitext(posixpath.normpath(posixpath.join("docs", link)))[0]


def toctree(caption: str, pages: list[tuple[str, str]]) -> str:
    """Return a toctree, in MyST Markdown, that only the sidebar shows."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    entries = [f"{title} <{document}>" for title, document in pages]
    return "\n".join(["```{toctree}", *options, "", *entries, "```"])


def write_front_page(app: Any, error: Exception | None) -> None:
    """Copy the page of README.md to index.html, which servers show for the folder."""
    if error is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir) / f"{FRONT}.html", Path(app.outdir) / "index.html")
