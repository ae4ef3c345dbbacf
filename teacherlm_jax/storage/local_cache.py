"""Copies of data from a bucket on this machine, by digest and within a size limit.

Each dataset has a folder in the cache, named by its digest. Processes of the machine share the
copies: one process copies while the others wait, and a copy that some process uses is never
removed. Copies that were not used for the longest time are removed first.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_GIB = 1 << 30


class NoRoomError(Exception):
    """The cache cannot take a dataset; the message says why."""


@contextlib.contextmanager
def held(
    root: Path,
    name: str,
    size: int,
    limit: int,
    fill: Callable[[Path], None],
    say: Callable[[str], None],
) -> Iterator[Path]:
    """Yield the folder of a dataset in a cache; until the block ends, it is not removed.

    Args:
        root: folder of the cache, created if it does not exist.
        name: name of the dataset in the cache: its digest.
        size: bytes of the dataset.
        limit: bytes that all datasets in the cache may have together.
        fill: copies the files that the folder lacks. It may find files of a copy that was
            interrupted, so a file that is there must be complete.
        say: gets a line about a wait and about each dataset that is removed.

    Raises NoRoomError if the dataset does not fit, and OSError if the folder cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    with contextlib.ExitStack() as locks:
        copying = locks.enter_context((root / f".{name}.copy").open("w"))
        if not _locked(copying, fcntl.LOCK_EX | fcntl.LOCK_NB):
            say(f"{folder}: waiting for another process that copies this dataset")
            _locked(copying, fcntl.LOCK_EX)
        using = locks.enter_context((root / f".{name}.use").open("w"))
        _locked(using, fcntl.LOCK_SH)
        _make_room(root, name, size, limit, say)
        folder.mkdir(exist_ok=True)
        fill(folder)
        os.utime(folder)
        copying.close()
        yield folder


def _make_room(root: Path, name: str, size: int, limit: int, say: Callable[[str], None]) -> None:
    """Remove the least recently used datasets until `size` bytes fit for the dataset `name`."""
    if size > limit:
        raise NoRoomError(f"the dataset has {_gib(size)}, the limit is {_gib(limit)}")
    others = [path for path in root.iterdir() if path.is_dir() and path.name != name]
    sizes = {path: _bytes(path) for path in others}
    missing = size - _bytes(root / name)
    for path in sorted(others, key=lambda path: path.stat().st_mtime):
        if sum(sizes.values()) + size <= limit and missing <= shutil.disk_usage(root).free:
            return
        with (root / f".{path.name}.use").open("w") as using:
            if _locked(using, fcntl.LOCK_EX | fcntl.LOCK_NB):
                say(f"{path}: removed from the cache to make room for another dataset")
                shutil.rmtree(path)
                del sizes[path]
    if (used := sum(sizes.values())) + size > limit:
        raise NoRoomError(
            f"the dataset has {_gib(size)}, others that are in use have {_gib(used)}, the limit is "
            f"{_gib(limit)}"
        )
    free = shutil.disk_usage(root).free
    if missing > free:
        raise NoRoomError(f"the dataset needs {_gib(missing)}, and the disk has {_gib(free)} left")


def _locked(file: IO[str], mode: int) -> bool:
    """Lock a file; return False if another process has it, True on a disk without locks."""
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g} GiB"
