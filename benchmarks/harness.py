"""Output of all benchmarks: a table, a JSON file of the figures, a last line and an exit status."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.runs.versions import commit, short_commit

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
RESULTS_PAGE = DOCS / "reference" / "results.md"
_PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "numpy", "tokamax"),
    *("qwix", "tokenizers", "torch", "transformers", "lm_eval"),
)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table with aligned columns."""
    texts = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in texts
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def put_into(page: Path, name: str, text: str) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- /NAME -->` in a page of the docs."""
    before, opening, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->\n")
    if not opening or not closing:
        raise ValueError(f"{page}: expected the marks <!-- {name} --> and <!-- /{name} -->")
    from teacherlm_jax.storage import files  # needs fsspec, which `benchmarks/gpu.py` does without

    files.write_text(page, f"{before}{opening}{text}{closing}{after}")


def finish(name: str, figure: str, goal: str, met: bool, details: Mapping[str, Any]) -> int:
    """Write `benchmarks/results/NAME.json`, print the last line and return the exit status.

    `details` contains every figure of the table and is JSON-serializable.
    """
    from teacherlm_jax.storage import files

    result = {
        "figure": figure,
        "goal": goal,
        "met": met,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
        **details,
    }
    files.write_json(RESULTS / f"{name}.json", result)
    return judge(name, figure, goal, met)


def judge(name: str, figure: str, goal: str, met: bool) -> int:
    """Print the line that compares a figure with its goal; return the exit status."""
    print(f"{name}: {figure} (goal {goal}): {'met' if met else 'unmet'}")
    return 0 if met else 1


def conditions(*packages: str) -> str:
    """Return the line below a table: machine, versions of JAX and `packages`, and commit."""
    installed = versions()
    used = ", ".join(f"{name} {installed[name]}" for name in ("jax", *packages))
    return f"\nMeasured on {machine()}; {used}; commit {short_commit(commit())}.\n"


def machine() -> str:
    """Return a description of the machine: cores, processor and memory."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = names[0] if names else platform.machine()
    return f"{os.cpu_count()} cores of {processor}, {memory:.0f} GiB"


def versions() -> dict[str, str]:
    """Return the versions of Python and of installed packages that affect the figures."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
