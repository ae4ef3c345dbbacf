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
        "commit": os.environ.get(COMMIT) or _commit(),
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


def _commit() -> str:
    """Return the commit of the source tree, with "+changes" if tracked files differ from it.

    The documentation and the recorded results, which decide nothing, do not count.
    """
    root = Path(__file__).parents[2]
    commit = _git("rev-parse", "HEAD", root=root)
    if commit is None or not (root / ".git").exists():
        return "unknown"
    status = ("status", "--porcelain", "--untracked-files=no", "--", ".")
    changed = _git(*status, ":!docs", ":!benchmarks/results", root=root)
    return commit + ("" if changed == "" else "+changes")  # None: git does not know


def _git(*words: str, root: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
