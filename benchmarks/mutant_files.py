"""The files that mutation testing changes: their settings, which to test, and their digests.

This module does without cosmic-ray, which has an environment of its own.
"""

import argparse
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import harness

SETTINGS = harness.ROOT / "benchmarks" / "mutants.toml"
DIGEST = "digest"  # in the recorded figures of a file

Read = Callable[[str], str]  # the text of a file, by its path in the repository


def settings() -> dict[str, Any]:
    """Return the content of benchmarks/mutants.toml."""
    return tomllib.loads(SETTINGS.read_text(encoding="utf-8"))


def read_here(path: str) -> str:
    """Return the text of a file of the working tree."""
    return (harness.ROOT / path).read_text(encoding="utf-8")


def chosen(
    words: Sequence[str],
    settings: Mapping[str, Any],
    recorded: Mapping[str, Mapping[str, Any]],
    read: Read = read_here,
) -> list[dict[str, Any]]:
    """Return the settings of the files that a command line selects.

    Args:
        words: arguments of the command; a wrong one ends it with a message.
        settings: content of mutants.toml.
        recorded: recorded figures by file.
        read: returns the text of a file.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.mutants")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="part of the path of a file (default: all files)"
    )
    parser.add_argument(
        "--changed",
        action="store_true",
        help="only files that have changed since they were measured, or whose tests or settings in "
        "mutants.toml have",
    )
    options = parser.parse_args(words)
    files = list(settings["file"])
    for name in options.names:
        if not any(name in file["source"] for file in files):
            sources = ", ".join(file["source"] for file in files)
            parser.error(f"{name}: expected a part of one of these paths: {sources}")
    if options.names:
        files = [file for file in files if any(name in file["source"] for name in options.names)]
    if options.changed:
        files = [
            file
            for file in files
            if recorded.get(file["source"], {}).get(DIGEST) != digest(file, settings, read)
        ]
    return files


def digest(file: Mapping[str, Any], settings: Mapping[str, Any], read: Read) -> str:
    """Return the SHA-256 of what the figures of a file depend on.

    That is the text of the file and of its tests, its settings, and those that all files share.
    """
    shared = {key: value for key, value in settings.items() if key != "file"}
    texts = [read(path) for path in (file["source"], *file["tests"])]
    content = json.dumps([file, shared, texts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
