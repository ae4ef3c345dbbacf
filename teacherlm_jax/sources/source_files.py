"""The files that the path of a source names, and the reader that fits their type."""

import os
import re
from collections.abc import Iterable, Sequence

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import arrow, mmlu_files
from teacherlm_jax.sources.text_files import COMPRESSED, SHARD
from teacherlm_jax.storage import locations

# The reader of a file by its name.
_FILES = {
    "jsonl": re.compile(rf"\.(jsonl|json|ndjson){SHARD}{COMPRESSED}$"),
    "csv": re.compile(rf"\.csv{SHARD}{COMPRESSED}$"),
    "tsv": re.compile(rf"\.tsv{SHARD}{COMPRESSED}$"),
    "parquet": re.compile(rf"\.parquet{SHARD}$"),
    "datasets": re.compile(r"\.arrow$"),
    "tfrecord": re.compile(rf"\.tfrecords?{SHARD}(\.gz)?$"),
}
_ENDINGS = ".jsonl, .csv, .tsv, .parquet or .arrow"  # of files that every verb reads
# The reader of a folder by a file that it contains.
_FOLDERS = {arrow.DATASET: "datasets", arrow.SPLITS: "datasets", "features.json": "tfds"}

_SHOWN = 4  # file names in a message


def find(config: SourceConfig, root: str) -> list[epath.Path]:
    """Return the files that a source's path names, or the folder of a saved dataset.

    For any other folder, return the files in it. Raises UserError if the path names no files, or if
    the folder contains files that are not shards of one dataset.
    """
    path = locations.under(root, config.path)
    if not path.is_dir():
        return locations.expand(root, config.path)
    described = any((path / name).exists() for name in _FOLDERS)
    return [path] if described or config.reader == "tfds" else _shards(config, path)


def _shards(config: SourceConfig, folder: epath.Path) -> list[epath.Path]:
    """Return all files of a folder if their names differ only in numbers and have one reader.

    Files with other names may be another split, which must not be trained on by accident.
    """
    paths = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(re.sub(r"\d+", "*", path.name), []).append(path.name)
    if len(kinds) == 1 and (config.reader or _reader_of_file(paths[0])):
        return paths
    if config.format == "mmlu" and mmlu_files.are_one_split(paths):
        return paths
    shown = [names[0] if len(names) == 1 else kind for kind, names in kinds.items()]
    known = [name for name in shown if config.reader or _reader_of_file(folder / name)]
    below = described_below(folder)
    shown = below or shown
    content = ", ".join(shown[:_SHOWN]) + (" and others" if len(shown) > _SHOWN else "")
    suggested = paths_in(config, (below or known)[:_SHOWN]) or "files with rows"
    raise UserError(
        f"source {config.name!r}: the folder {folder} contains {content or 'nothing'}, expected "
        f"{', '.join(_FOLDERS)}, or only shards of one dataset; set the path to {suggested}"
    )


def paths_in(config: SourceConfig, names: Iterable[str]) -> str:
    """Return paths below the source's current path, as suggestions in a message."""
    return " or ".join(os.path.join(config.path, name) for name in names)


def described_below(folder: epath.Path) -> list[str]:
    """Return the names of saved datasets in a folder, such as the versions of a TFDS dataset."""
    return [
        path.name
        for path in sorted(folder.iterdir())
        if path.is_dir() and any((path / name).exists() for name in _FOLDERS)
    ]


def reader_of(config: SourceConfig, paths: Sequence[epath.Path]) -> str:
    """Return the reader that a source sets or, by default, the one that fits its files.

    Raises UserError if no reader or more than one fits.
    """
    if config.reader:
        return config.reader
    readers = sorted({_reader_of_path(config.name, path) for path in paths})
    if len(readers) > 1:
        raise UserError(
            f"source {config.name!r}: the files beside {paths[0]} are of several types "
            f"({', '.join(readers)}); set the path to files of one type"
        )
    return readers[0]


def _reader_of_path(source: str, path: epath.Path) -> str:
    if path.is_dir():
        return next(reader for name, reader in _FOLDERS.items() if (path / name).exists())
    if reader := _reader_of_file(path):
        return reader
    raise UserError(
        f"source {source!r}: the name of {path} does not show its type; rename the file so that "
        f"it ends in {_ENDINGS}"
    )


def _reader_of_file(path: epath.Path) -> str:
    """Return the reader that fits a file's name; empty if none does."""
    return next((name for name, ending in _FILES.items() if ending.search(path.name)), "")


def names_apart(paths: Sequence[epath.Path]) -> dict[epath.Path, str]:
    """Return the paths of files relative to the deepest folder that contains all of them."""
    folders = [path.parent.parts for path in paths]
    shared = 0
    while len({parts[: shared + 1] for parts in folders}) == 1 and shared < len(folders[0]):
        shared += 1
    return {path: "/".join(path.parts[shared:]) for path in paths}


def explanation_files(config: SourceConfig, root: str) -> list[epath.Path]:
    """Return the files with further explanations of a source's samples.

    Raises UserError if the config names some that do not exist or are not jsonl.
    """
    if not config.explanations:
        return []
    paths = locations.expand(root, config.explanations)
    for path in paths:
        if _reader_of_file(path) != "jsonl":
            raise UserError(
                f"source {config.name!r}: explanations are in {path}, expected a jsonl file; "
                "convert it, and give it a name that ends in .jsonl"
            )
    return paths
