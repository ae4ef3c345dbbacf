"""Digests of the paths that steps of a pipeline read and write, without reading large files.

They only decide whether the command of a step is worth starting. The command itself compares the
content of its inputs, as it does without a pipeline.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator

from etils import epath

from teacherlm_jax.errors import MissingFile
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.locations import is_elsewhere, is_remote
from teacherlm_jax.storage.paths import StoragePath

MISSING = ""


def of_path(path: str) -> str:
    """Return a digest of a file or folder; MISSING if there is none.

    That of a finished run, or of the runs of a sweep, is one of their results; of another folder,
    one of the names, sizes and times of its files; of a file, one of its content. An address that
    is not in a bucket of gs://, such as `hf://org/name`, stands for itself.
    """
    if is_elsewhere(path):
        return path
    place = StoragePath(path)
    if results := of_results(place):
        return results
    if files.is_folder(place):
        return _of_lines(_entries(place))
    return _of_file(place)


def of_results(folder: epath.Path) -> str:
    """Return a digest of the result of a run, or of the results of a sweep; MISSING: none.

    That of a training changes if readers choose another checkpoint as the best one.
    """
    if result := _of_file(folder / layout.RESULT):
        chosen = _of_file(folder / layout.SELECTION)
        return _of_lines((result, chosen)) if chosen else result
    if not files.is_folder(folder):
        return MISSING
    points = {name: _of_file(folder / name / layout.RESULT) for name in files.names(folder)}
    lines = [f"{name} {digest}" for name, digest in points.items() if digest]
    return _of_lines(lines) if lines else MISSING


def _of_file(path: epath.Path) -> str:
    """Return the digest of the content of a file; MISSING if there is none, or not any more."""
    try:
        return files.file_digest(path) if files.exists(path) else MISSING
    except MissingFile:
        return MISSING


def _entries(folder: epath.Path) -> Iterator[str]:
    """Yield name, size and, on a disk, time of each file of a folder, without hidden ones."""
    if is_remote(folder):
        for name, size in sorted(objects.listing(folder).items()):
            yield f"{name} {size}"
        return
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                path = os.path.join(parent, name)
                try:
                    entry = os.stat(path)
                except FileNotFoundError:  # removed since it was listed
                    continue
                yield f"{os.path.relpath(path, folder)} {entry.st_size} {entry.st_mtime_ns}"


def _of_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return f"sha256:{digest.hexdigest()}"
