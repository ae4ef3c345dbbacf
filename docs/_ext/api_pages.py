"""The API pages of the site: one for each module in the list of docs/reference/api.md.

On GitHub that list links to the source. On the site it links to pages that are generated from the
docstrings into docs/reference/api/.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIST = "docs/reference/api"
FOLDER = ROOT / LIST
_LINK = re.compile(r"\]\(\.\./\.\./(teacherlm_jax/[\w/]+)\.py\)")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")  # has the events
    app.connect("config-inited", lambda app, config: write_pages())
    app.connect("source-read", link_pages)
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-docstring", describe_keys)
    return {"parallel_read_safe": True}


def documented_modules() -> list[str]:
    """Return the modules in the list, in its order."""
    text = (ROOT / f"{LIST}.md").read_text(encoding="utf-8")
    return [module_of(path) for path in _LINK.findall(text)]


def module_of(path: str) -> str:
    """Return the module of a file, given without its suffix."""
    return path.removesuffix("/__init__").replace("/", ".")


def write_pages() -> None:
    """Write the page of every module in the list, and remove pages of others."""
    FOLDER.mkdir(exist_ok=True)
    pages = {FOLDER / f"{module}.rst": page(module) for module in documented_modules()}
    for path in set(FOLDER.iterdir()) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # its time is compared
            path.write_text(text, encoding="utf-8")


def page(module: str) -> str:
    """Return the page of a module, in reStructuredText."""
    return f"{module}\n{'=' * len(module)}\n\n.. automodule:: {module}\n"


def link_pages(app: Any, document: str, source: list[str]) -> None:
    """Let the list link to the pages of its modules, which become its children in the sidebar."""
    if document != LIST:
        return
    entries = "\n".join(
        f"{module.removeprefix('teacherlm_jax.')} <api/{module}>" for module in documented_modules()
    )
    source[0] = _LINK.sub(lambda match: f"](api/{module_of(match[1])}.rst)", source[0])
    source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def mark_code(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Turn the code of docstrings, as in `x`, into that of reStructuredText, as in ``x``."""
    text = "\n".join(lines)
    if what == "module":  # an indented program
        text = re.sub(r"\n\n(?=    )", "\n\n::\n\n", text, count=1)
    lines[:] = code_in(text).split("\n")


def code_in(text: str) -> str:
    """Return a text whose code has two backticks, and no spaces at its ends."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", lambda match: f"``{match[1].strip()}``", text)


def is_config(value: Any) -> bool:
    """Return true for a class whose fields have help texts, as those of the config have."""
    return dataclasses.is_dataclass(value) and any(
        "help" in field.metadata for field in dataclasses.fields(value)
    )


def readable_signature(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str, result: str
) -> tuple[str | None, str | None]:
    """Shorten a signature: arrays are named as in the source, and `...` is a default without text.

    A config class has none, because the list of its keys has all of it.
    """
    if what == "class" and is_config(value):
        return "", None
    texts = (text and text.replace("jaxlib._jax.Array", "Array") for text in (signature, result))
    arguments, returned = texts
    return arguments and re.sub(r"= ?<.*?>(?=[,)])", "= ...", arguments), returned


def describe_keys(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Append the keys of a config class with type, default and help, as in `--help`."""
    if what != "class" or not is_config(value):
        return
    lines += ["", *(line for field in dataclasses.fields(value) for line in key_lines(field)), ""]


def key_lines(field: Any) -> list[str]:
    """Return the entry of one key, in reStructuredText."""
    kind = field.type if isinstance(field.type, str) else type_text(field.type)
    facts = []
    if field.metadata.get("required"):
        facts.append("Required.")
    elif field.default is not dataclasses.MISSING:
        facts.append(f"Default: ``{field.default!r}``.")
    if "choices" in field.metadata:
        names = ", ".join(f"``{name!r}``" for name in field.metadata["choices"])
        facts.append(f"One of {names}.")
    if "limits" in field.metadata:
        facts.append(f"In ``{field.metadata['limits']}``.")
    plain_or_code = re.split(r"(`[^`]*`)", field.metadata["help"])
    plain_or_code[::2] = [re.sub(r"([*|_\\])", r"\\\1", plain) for plain in plain_or_code[::2]]
    help_text = code_in("".join(plain_or_code)).removesuffix(".")
    kind = re.sub(r"\b([A-Z]\w+)\b", r":py:class:`~teacherlm_jax.config.\1`", kind)
    name = field.name.replace("_", r"\_")  # a last one, as in from_, would be a link
    return [
        f"{name} : {kind}",
        f"   {help_text[:1].upper()}{help_text[1:]}. {' '.join(facts)}",
    ]


def type_text(kind: Any) -> str:
    """Return the name of a type as it is written in the source."""
    return kind.__name__ if type(kind) is type else re.sub(r"\b[\w.]+\.(?=\w)", "", str(kind))
