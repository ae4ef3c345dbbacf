"""Files that processes exchange through a folder, on a disk that they share or in a bucket.

Objects in a bucket never grow. A file that grows there grows in a temporary folder of the process
that writes it, is uploaded whole, and is downloaded where it is read.
"""

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.temporary import TemporaryFolder

_AHEAD = 4  # objects to prefetch
_FEW = 8  # folders

_Content = TypeVar("_Content")


def existing(paths: Iterable[epath.Path]) -> set[epath.Path]:
    """Return the paths of files that exist.

    In a bucket, a few folders are listed one by one. More folders take one listing of all that is
    below their common parent.

    Raises StoreError if the store refuses.
    """
    paths = list(paths)
    remote = [path for path in paths if is_remote(path)]
    folders = {path.parent for path in remote}
    if len(folders) > _FEW:
        folders = _common_parents(folders)
    listed = {f"{folder}/{name}" for folder in folders for name in objects.listing(folder)}
    present = {path for path in paths if not is_remote(path) and path.exists()}
    return present | {path for path in remote if str(path) in listed}


def _common_parents(folders: Iterable[epath.Path]) -> set[epath.Path]:
    """Return the folder in each bucket that contains all its folders."""
    buckets: dict[str, list[str]] = {}
    for folder in folders:
        bucket = objects.bucket_of(folder)
        buckets.setdefault(bucket, []).append(f"{str(folder).removeprefix(bucket)}/")
    return {StoragePath(bucket + os.path.commonpath(paths)) for bucket, paths in buckets.items()}


@contextlib.contextmanager
def folder_to_write(folder: epath.PathLike) -> Iterator[Path]:
    """Yield a folder on this machine, for files that grow until the block ends.

    On a disk this is `folder`, which is created. For a folder in a bucket it is a temporary one,
    whose files are uploaded unless the block raises an error. Raises StoreError if the store
    refuses them.
    """
    if not is_remote(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder)
        return
    with contextlib.closing(TemporaryFolder()) as temporary:
        yield temporary.path
        for path in sorted(temporary.path.iterdir()):
            if not path.name.startswith("."):
                objects.upload(path, StoragePath(folder) / path.name)


@contextlib.contextmanager
def file_to_read(path: epath.PathLike) -> Iterator[Path]:
    """Yield the path of a file on this machine: `path`, or a temporary copy of one in a bucket.

    Raises StoreError if there is no such object, or the store refuses.
    """
    if not is_remote(path):
        yield Path(path)
        return
    with contextlib.closing(TemporaryFolder()) as temporary:
        copy = temporary.path / os.path.basename(path)
        objects.download(path, copy)
        yield copy


def fetch(address: epath.PathLike, target: Path, digest: str, *, remedy: str) -> None:
    """Download an object to a file on this machine, which appears once its digest is checked.

    Args:
        address: the object.
        target: the file.
        digest: expected digest, as `files.file_digest` returns it.
        remedy: what to do about another digest, for the UserError.
    """
    unfinished = target.with_name(f".{target.name}")
    try:
        with naming(target):
            objects.download(address, unfinished)
            actual = files.file_digest(unfinished)
        if actual != digest:
            raise UserError(f"{address}: digest is {actual}, expected {digest}; {remedy}")
        files.publish(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_each(
    read: Callable[[epath.Path], _Content], paths: Iterable[epath.Path]
) -> Iterator[_Content]:
    """Yield what `read` returns for each path, in order.

    The next few objects of a bucket are prefetched.
    """
    waiting: deque[Future[_Content]] = deque()
    with ThreadPoolExecutor(_AHEAD) as requests:
        for path in paths:
            if not is_remote(path):
                yield read(path)
                continue
            waiting.append(requests.submit(read, path))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def remove(folder: epath.PathLike) -> None:
    """Remove a folder and everything in it; nothing happens if there is none."""
    if is_remote(folder):
        objects.remove_folder(folder)
    elif Path(folder).exists():
        shutil.rmtree(folder)
