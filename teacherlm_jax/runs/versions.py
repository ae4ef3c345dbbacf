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

_CODE = ("teacherlm_jax", "benchmarks", "tests")  # folders in which a new file may decide something
_NOT_CODE = (":!docs", ":!benchmarks/results")
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

    It differs if a file that git tracks is changed, or if there is a new one in teacherlm_jax/,
    benchmarks/ or tests/. The documentation and the recorded results, which decide nothing, do not
    count, nor does a new config, which its run records. The commit is "unknown" without git or its
    history. The environment variable TEACHERLM_COMMIT replaces it.
    """
    if named := os.environ.get(COMMIT):
        return named
    root = Path(__file__).parents[2]
    head = _git("rev-parse", "HEAD", root=root) if (root / ".git").exists() else None
    if head is None:
        return "unknown"
    status = ("status", "--porcelain", "--untracked-files=no", "--", ".")
    changed = _git(*status, *_NOT_CODE, root=root)
    new = _git("ls-files", "--others", "--exclude-standard", "--", *_CODE, *_NOT_CODE, root=root)
    same = changed == "" and new == ""  # None: git does not know
    return head if same else f"{head}+changes"


def short_commit(recorded: str) -> str:
    """Return a recorded commit with seven digits, and what follows it, such as "+changes"."""
    digits, plus, rest = recorded.partition("+")
    return f"{digits[:7]}{plus}{rest}"


def _git(*words: str, root: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
