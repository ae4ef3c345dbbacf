"""Settings of the documentation site, which `make docs` builds with Sphinx.

The source folder is the repository, so README.md, the pages in docs/ and the notebooks link to each
other here as they do on GitHub. `_ext` has what is special about this site.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]
os.environ["JAX_PLATFORMS"] = "cpu"  # the API pages import the package, which needs no device

import api_pages

project = "teacherlm_jax"
html_show_copyright = False
extensions = [
    "api_pages",
    "index_pages",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.githubpages",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "docs/reference/api/*.rst", "notebooks/*.ipynb"]
exclude_patterns = [
    *(".*", "*.egg-info", "benchmarks", "build", "configs", "data", "dist", "docs/_*", "launch"),
    *("models", "runs", "teacherlm_jax", "tests"),
]
suppress_warnings = ["misc.highlighting_failure"]  # examples are shortened with …

# Markdown as GitHub reads it
myst_enable_extensions = ["linkify"]
myst_linkify_fuzzy_links = False  # student.py is a file, not a site in Paraguay
myst_heading_anchors = 6
nb_execution_mode = "off"  # the tests run the notebooks

# API pages
autodoc_default_options = {
    "exclude-members": "problems",  # of config classes: the checks behind their errors
    "member-order": "bysource",
    "members": True,
}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
add_module_names = False
nitpicky = True
# A name that no API page has is fine in a signature, unless its module has a page.
nitpick_ignore_regex = [("py:.*", rf"(?!({'|'.join(api_pages.documented_modules())})\.\w+$).*")]

html_theme = "sphinx_book_theme"
html_title = "teacherlm_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has the search
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
copybutton_prompt_text = "$ "
