"""Copies of data from a bucket on this machine, by digest and within a size limit.

Each dataset has a folder in the cache, named by its digest. Processes of the machine share the
copies: one process copies while the others wait, and a copy that some process uses is never
removed. Copies that were not used for the longest time are removed first.

Three kinds of lock files keep processes apart:

- `.lock` is held for a short time, to make room for a dataset and to reserve it.
- `.NAME.use` is shared by the processes that use a dataset. It contains the size of the dataset,
  which counts for the limit as long as a process holds the lock, also before all is copied. Its
  state changes only under `.lock`.
- `.NAME.copy` is held by the process that copies or checks the dataset. It contains a random word
  that changes with each complete check.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.wording import GIB

_FREE_SHARE, _FREE = 0.05, 2 * GIB  # of a disk, the smaller of the two is left free


class NoRoomError(Exception):
    """The cache cannot take a dataset; the message says why."""


@contextlib.contextmanager
def held(
    root: Path,
    name: str,
    *,
    size: int,
    limit: int,
    fill: Callable[[Path], bool],
    say: Callable[[str], None],
) -> Iterator[Path]:
    """Yield the folder of a dataset in a cache; until the block ends, it is not removed.

    Args:
        root: folder of the cache, created if it does not exist.
        name: name of the dataset in the cache: its digest.
        size: bytes of the dataset.
        limit: bytes that all datasets in the cache may have together.
        fill: copies the files that the folder lacks, and returns whether it has checked the content
            of all files. It may find files of a copy that was interrupted, so a file that is there
            must be complete. It is not called if another process has checked all files while this
            one waited for it.
        say: gets a line about a wait and about each dataset that is removed.

    Raises NoRoomError if the dataset does not fit, and OSError if the folder cannot be written or
    locked.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    with contextlib.ExitStack() as locks:
        copying = locks.enter_context(_lock_file(folder, "copy"))
        checked = _content(copying)
        if not _locked(copying, fcntl.LOCK_EX | fcntl.LOCK_NB):
            say(f"{folder}: waiting for another process that copies this dataset")
            _locked(copying, fcntl.LOCK_EX)
        using = locks.enter_context(_lock_file(folder, "use"))
        with _alone(root):
            _make_room(folder, size, limit, say)
            _locked(using, fcntl.LOCK_SH)
            _replace(using, str(size))
            folder.mkdir(exist_ok=True)
        if _content(copying) in ("", checked):
            _fill(folder, fill, copying, using, say)
        os.utime(folder)
        copying.close()
        yield folder


def _fill(
    folder: Path, fill: Callable[[Path], bool], copying: IO[bytes], using: IO[bytes],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Copy what a dataset lacks; remove it if the disk refuses, so that it does not stay full."""
    try:
        is_checked = fill(folder)
    except OSError:
        using.close()
        with _alone(folder.parent):
            _remove(folder, "because it cannot be completed", say)
        raise
    if is_checked:
        with contextlib.suppress(OSError):  # a full disk: those that wait check again
            _replace(copying, secrets.token_hex(8))


class _Dataset(NamedTuple):
    """A dataset in the cache."""

    folder: Path
    last_use: float  # in seconds since the epoch
    in_use: bool
    on_disk: int  # bytes
    size: int  # bytes, with those that a process still copies


def _make_room(folder: Path, size: int, limit: int, say: Callable[[str], None]) -> None:
    """Remove the least recently used datasets until `size` bytes fit for the dataset of `folder`.

    If that is not enough, nothing is removed. The caller holds the lock of the cache.
    """
    if size > limit:
        raise NoRoomError(f"the dataset has {_gib(size)}, the limit is {_gib(limit)}")
    others = _datasets(folder)
    unused = sorted((one for one in others if not one.in_use), key=lambda one: one.last_use)
    removable, used = (
        sum(one.size for one in others if one.in_use == in_use) for in_use in (False, True)
    )
    if used + size > limit:
        raise NoRoomError(
            f"the dataset has {_gib(size)}, others that are in use have {_gib(used)}, the limit is "
            f"{_gib(limit)}"
        )
    excess = removable + used + size - limit
    if missing := max(0, size - _bytes(folder)):
        pending = sum(one.size - one.on_disk for one in others)
        disk = shutil.disk_usage(folder.parent)
        kept = min(int(_FREE_SHARE * disk.total), _FREE)
        excess = max(excess, missing + pending + kept - disk.free)
        if excess > removable:
            raise NoRoomError(
                f"the dataset needs {_gib(missing)}, the disk has {_gib(disk.free)} left, of which "
                f"{_gib(pending)} are for other copies and {_gib(kept)} stay free"
            )
    for one in unused:
        if excess <= 0:
            break
        excess -= _remove(one.folder, "to make room for another dataset", say)
    if excess > 0:
        raise NoRoomError(f"{_gib(excess)} of unused datasets cannot be removed")


def _datasets(folder: Path) -> list[_Dataset]:
    """Return the datasets of the cache except that of `folder`."""
    others = []
    for path in folder.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # removed by hand
            if path.is_dir() and path != folder:
                others.append(_dataset(path))
    return others


def _dataset(folder: Path) -> _Dataset:
    last_use, on_disk, in_use, reserved = folder.stat().st_mtime, _bytes(folder), True, ""
    with contextlib.suppress(PermissionError), _lock_file(folder, "use") as use:  # another user's
        in_use = not _locked(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        reserved = _content(use) if in_use else ""
    size = max(on_disk, int(reserved) if reserved.isdigit() else 0)
    return _Dataset(folder, last_use, in_use, on_disk, size)


def _remove(folder: Path, reason: str, say: Callable[[str], None]) -> int:
    """Remove a dataset that no process uses; return the number of bytes that this frees.

    The caller holds the lock of the cache.
    """
    before = _bytes(folder)
    with _lock_file(folder, "use") as use, _lock_file(folder, "copy") as copying:
        if not _locked(use, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return 0
        _replace(copying, "")
        shutil.rmtree(folder, ignore_errors=True)  # what is left is counted
    if not folder.exists():
        say(f"{folder}: removed from the cache {reason}")
    return before - _bytes(folder)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of the cache."""
    with (root / ".lock").open("a+b", buffering=0) as lock:
        _locked(lock, fcntl.LOCK_EX)
        yield


def _lock_file(folder: Path, kind: str) -> IO[bytes]:
    """Open a lock file of a dataset, unbuffered: other processes change its content."""
    return (folder.parent / f".{folder.name}.{kind}").open("a+b", buffering=0)


def _locked(file: IO[bytes], mode: int) -> bool:
    """Lock a file; return False if another process has it and the mode is not to wait."""
    try:
        with naming(file.name):
            fcntl.flock(file, mode)
    except BlockingIOError:
        return False
    return True


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _replace(file: IO[bytes], text: str) -> None:
    with naming(file.name):
        file.truncate(0)
        file.write(text.encode())


def _bytes(folder: Path) -> int:
    """Return the bytes of the files in a folder; files may vanish or get other names meanwhile."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(path, name)).st_size
    return total


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB"
