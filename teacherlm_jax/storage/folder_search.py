"""Search for folders that have certain files, on this machine or in a bucket."""

import os
from collections.abc import Callable, Collection

from etils import epath

from teacherlm_jax.errors import one_line
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import StoragePath

Refused = Callable[[epath.Path, str], None]


def folders_with(
    root: epath.PathLike, names: Collection[str], skipped: Collection[str], refused: Refused
) -> list[epath.Path]:
    """Return the folders at and below `root` that have a file of any of the names, sorted.

    Args:
        root: the folder to search.
        names: names of files.
        skipped: names of folders that are not searched; hidden folders are not, either.
        refused: gets each folder on this machine that cannot be searched, with the reason.

    Raises StoreError if a store refuses.
    """
    root = StoragePath(root)
    if is_remote(root):
        paths = (os.path.split(path) for path in objects.listing(root))
        found = {
            folder for folder, file in paths
            if file in names and not any(_is_skipped(part, skipped) for part in folder.split("/"))
        }  # fmt: skip
        return sorted(root / folder for folder in found)

    def refuse(error: OSError) -> None:
        refused(StoragePath(error.filename), one_line(error.strerror or error))

    folders = []
    for folder, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [sub for sub in subfolders if not _is_skipped(sub, skipped)]
        if not set(names).isdisjoint(files):
            folders.append(StoragePath(folder))
    return sorted(folders)


def _is_skipped(name: str, skipped: Collection[str]) -> bool:
    return name in skipped or name.startswith(".")
