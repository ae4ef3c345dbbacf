"""Objects of a bucket, such as `gs://bucket/folder/file`: put whole, created once, listed, removed.

Nothing in a bucket grows or is renamed. One request replaces an object atomically, so readers see
the old object or the new one. The client of gs:// retries transient errors for `PATIENCE` seconds,
with increasing pauses; see `gcs_client`.
"""

import contextlib
import email.utils
import mimetypes
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.errors import ExplainedError, StoreError, UserError
from teacherlm_jax.storage import disk_errors, store_errors
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import client

PATIENCE = 60.0  # seconds for which transient errors of a request are retried
SILENCE = 60.0  # timeout in seconds for a connection, and between two packets of a response
_UPLOAD_BLOCK = 16 << 20  # bytes of one request that uploads a part of an object
_UNKNOWN_TYPE = "application/octet-stream"
_REQUESTS = 16  # at the same time


def put(path: epath.PathLike, content: bytes) -> None:
    """Replace an object by `content`; raise StoreError that names it if the store refuses."""
    with writing(path):
        client(path).pipe_file(os.fspath(path), content)


def upload(source: Path, path: epath.PathLike) -> None:
    """Replace an object by a file on this machine, without reading a large one whole.

    Of a file that grows meanwhile, the part is uploaded that was there at the beginning.
    """
    kind = mimetypes.guess_type(source)[0] or _UNKNOWN_TYPE
    with source.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        if left <= _UPLOAD_BLOCK:
            with writing(path):
                client(path).pipe_file(os.fspath(path), file.read(left), content_type=kind)
            return
        target = NewObject(path, kind)
        try:
            while left and (block := file.read(min(left, _UPLOAD_BLOCK))):
                target.write(block)
                left -= len(block)
        except BaseException:
            target.discard()
            raise
        target.close()


def create(path: epath.PathLike, content: bytes) -> bool:
    """Create an object and return True, or return False if it exists already.

    Of several processes that create the same object, exactly one gets True. `content` has to differ
    between them: a request that is retried may find the object of its first attempt.
    """
    store, name = client(path), os.fspath(path)
    with writing(path):
        try:
            store.pipe_file(name, content, mode="create")
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                return store.cat_file(name) == content
            return False
    return True


def read(path: epath.PathLike) -> bytes | None:
    """Return the content of an object, or None if there is none."""
    with reading(path):
        try:
            return client(path).cat_file(os.fspath(path))
        except FileNotFoundError:
            return None


def read_version(path: epath.PathLike) -> tuple[bytes, str] | None:
    """Return the content and the generation of an object in gs://, or None if there is none.

    Every write gives an object another generation.
    """
    with reading(path):
        try:
            return client(path).read_version(os.fspath(path))
        except FileNotFoundError:
            return None


def replace_version(path: epath.PathLike, content: bytes, generation: str) -> bool:
    """Replace an object in gs:// that still has a generation, and return True; else return False.

    `content` has to differ between all that write, as for `create`.
    """
    store, name = client(path), os.fspath(path)
    with writing(path):
        try:
            store.replace_version(name, content, generation)
        except (FileExistsError, FileNotFoundError):  # the answers to a condition that is not met
            return read(path) == content
    return True


def read_ranges(path: epath.PathLike, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the bytes from start to stop of each range, with one request each, many at a time.

    A range beyond the end of the object gives fewer bytes, or none.
    """
    starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
    with reading(path):
        parts = client(path).cat_ranges([os.fspath(path)] * len(ranges), starts, stops)
        for index, part in enumerate(parts):
            if isinstance(part, BaseException):
                if not store_errors.is_beyond_the_end(part):
                    raise part
                parts[index] = b""
    return parts


def info(path: epath.PathLike) -> Mapping[str, Any]:
    """Return what the store says about an object, such as `size` and, in gs://, `generation`."""
    with reading(path):
        return client(path).info(os.fspath(path))


class NewObject:
    """An object that is written from beginning to end and appears when it is closed.

    Of its content this process holds one block; nothing is written to its disk.
    """

    def __init__(self, path: epath.PathLike, content_type: str = _UNKNOWN_TYPE):
        self._path = path
        settings = {"block_size": _UPLOAD_BLOCK, "content_type": content_type}
        with writing(path):
            self._file = client(path).open(os.fspath(path), "wb", **settings)

    def write(self, block: bytes | memoryview) -> None:
        """Append a block; raise StoreError that names the object if the store refuses."""
        with writing(self._path):
            self._file.write(block)

    def close(self) -> None:
        """Complete the object, which replaces an earlier one."""
        with writing(self._path):
            self._file.close()

    def discard(self) -> None:
        """Drop what was written."""
        with contextlib.suppress(Exception):  # a store drops an upload that stops after some days
            self._file.discard()
        self._file.closed = True  # otherwise it would be completed when it is collected


def download(path: epath.PathLike, target: Path) -> None:
    """Copy an object to a file on this machine, without reading it whole."""
    with reading(path):
        client(path).get_file(os.fspath(path), str(target))


def listing(folder: epath.PathLike) -> Mapping[str, int]:
    """Return the bytes of all objects below a folder, by their path relative to it."""
    store, prefix = client(folder), os.fspath(folder).rstrip("/")
    with reading(folder):
        entries = store.find(prefix, detail=True)
    start = len(store._strip_protocol(prefix)) + 1
    return {name[start:]: entry["size"] for name, entry in entries.items() if name[start:]}


def entries(folder: epath.PathLike) -> Mapping[str, tuple[int, float | None, bool]]:
    """Return bytes, time of the last change and kind (True: folder) of what is in a folder.

    They are by name; the time is in seconds since 1970 by the clock of the store, None for folders.
    """
    store, prefix = client(folder), os.fspath(folder).rstrip("/")
    with reading(folder):
        try:
            listed = store.ls(prefix, detail=True)
        except FileNotFoundError:
            return {}
    own = store._strip_protocol(prefix)
    return {
        entry["name"].rstrip("/").rpartition("/")[2]: (
            entry["size"],
            entry["mtime"].timestamp() if "mtime" in entry else None,
            entry["type"] == "directory",
        )
        for entry in listed
        if entry["name"].rstrip("/") != own
    }


def clock_skew(folder: epath.PathLike) -> tuple[float, float]:
    """Return the seconds by which this machine's clock is ahead of that of gs://, and their error.

    The store states its time in whole seconds.
    """
    before = time.time()
    with reading(folder):
        stated = client(folder).date(os.fspath(folder))
    after = time.time()
    theirs = email.utils.parsedate_to_datetime(stated).timestamp() + 0.5
    return (before + after) / 2 - theirs, (after - before) / 2 + 0.5


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Retry transient errors in the block for `seconds`, in all threads of this process."""
    global PATIENCE
    usual, PATIENCE = PATIENCE, min(PATIENCE, seconds)
    try:
        yield
    finally:
        PATIENCE = usual


def is_folder(path: epath.PathLike) -> bool:
    """Return whether there are objects below a path; raise StoreError if the store refuses."""
    store = client(path)
    with reading(path):
        try:
            return store.info(os.fspath(path))["type"] == "directory"
        except FileNotFoundError:
            return False


def remove(path: epath.PathLike) -> None:
    """Remove an object; nothing happens if there is none."""
    with writing(path), contextlib.suppress(FileNotFoundError):
        client(path).rm_file(os.fspath(path))


def remove_folder(folder: epath.PathLike) -> None:
    """Remove all objects below a folder; nothing happens if there are none."""
    address = os.fspath(folder).rstrip("/")
    with ThreadPoolExecutor(_REQUESTS) as requests:
        list(requests.map(lambda name: remove(f"{address}/{name}"), listing(address)))


def refuse_missing_bucket(path: epath.PathLike) -> None:
    """Raise UserError if the bucket of `path` does not exist or may not be used.

    Writing to a missing bucket and reading a missing object fail alike; this tells them apart.
    """
    bucket = bucket_of(path)
    store = client(path)
    with reading(bucket):
        try:
            store.info(bucket)
        except FileNotFoundError:
            raise UserError(
                f"{path}: there is no bucket {bucket}; create it, or correct the name"
            ) from None


def describe_bucket(path: epath.PathLike) -> Mapping[str, Any]:
    """Return what the store says about the bucket of a path in gs://, such as its `location`.

    This needs the permission storage.buckets.get, and so does Orbax.
    """
    bucket = bucket_of(path)
    with reading(bucket):
        return client(path).describe(bucket)


def bucket_of(path: epath.PathLike) -> str:
    """Return the address of the bucket, such as "gs://bucket"."""
    store, _, rest = os.fspath(path).partition("://")
    return f"{store}://{rest.split('/')[0]}"


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
    """Turn errors of a store into a StoreError that names the object."""
    with _refusing(path, "written"):
        yield


@contextlib.contextmanager
def reading(path: epath.PathLike) -> Iterator[None]:
    """Turn errors of a store into a StoreError that names the object."""
    with _refusing(path, "read"):
        yield


@contextlib.contextmanager
def _refusing(path: epath.PathLike, action: str) -> Iterator[None]:
    try:
        yield
    except (ExplainedError, FileExistsError):
        raise
    except Exception as error:  # every client has its own
        if not is_remote(path) or not store_errors.is_of_client(error):
            raise
        if isinstance(error, OSError) and disk_errors.is_local(error):
            raise
        store = os.fspath(path).partition("://")[0]
        reason = store_errors.reason(error, store)
        raise StoreError(f"{path}: cannot be {action}: {reason}") from error
