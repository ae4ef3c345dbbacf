"""Versions of everything that decides what a run computes."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from teacherlm_jax import __version__
from teacherlm_jax.runs import distributed

COMMIT = "TEACHERLM_COMMIT"  # names the commit of a source tree that was copied without its history

_CODE = ("teacherlm_jax/", "benchmarks/")  # folders in which a new file may decide something
_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "seqio",
    "tensorflow",
    "sentencepiece",
)


def versions() -> dict[str, Any]:
    """Return the versions of packages, Python and the source tree, and the command line.

    `directory` is the working directory, to which paths of the command line are relative.
    """
    return {
        "teacherlm_jax": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "directory": _directory(),
        "processes": distributed.process_count(),
        "commit": commit(),
        "packages": {name: version_of(name) for name in _PACKAGES},
    }


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""


def version_of(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """Return the commit of the source tree, with "+changes" if the code differs from it.

    It differs if a file that git tracks is changed, or a new file is in the package or among the
    benchmarks. The documentation and the recorded results, which decide nothing, do not count. The
    commit is "unknown" without git or its history, unless the environment variable TEACHERLM_COMMIT
    names it.
    """
    root = Path(__file__).parents[2]
    if named := os.environ.get(COMMIT):
        return named
    head = _git("rev-parse", "HEAD", root=root)
    if head is None or not (root / ".git").exists():
        return "unknown"
    status = _git("status", "--porcelain", "--", ".", ":!docs", ":!benchmarks/results", root=root)
    if status is None:
        return f"{head}+changes"  # they cannot be excluded
    new = tuple(f"?? {folder}" for folder in _CODE)
    changed = any(not line.startswith("??") or line.startswith(new) for line in status.splitlines())
    return head + "+changes" * changed


def _git(*words: str, root: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
