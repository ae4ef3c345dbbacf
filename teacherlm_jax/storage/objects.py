"""Objects of a bucket, such as `gs://bucket/folder/file`: put whole, created once, listed, removed.

Nothing in a bucket grows or is renamed. One request replaces an object atomically, so readers see
the old object or the new one. The clients (`gcsfs` for gs://) repeat a request after a transient
failure for about half a minute, with increasing pauses.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import fsspec
from etils import epath
from fsspec.spec import AbstractFileSystem

from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.storage.locations import STORES, is_remote

# Each process would keep the listings that it has seen, and miss what others write.
for _store in STORES:
    fsspec.config.conf.setdefault(_store.removesuffix("://"), {})["use_listings_cache"] = False
# Errors are raised; logged, too, they would come with tracebacks.
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)

_RIGHTS = {
    "gs": "; the account needs roles/storage.objectUser and "
    "roles/storage.legacyBucketReader on the bucket"
}
_SIGN_IN = {"gs": "; run gcloud auth application-default login"}
_CLIENTS = ("gcsfs", "s3fs", "aiohttp", "botocore", "aiobotocore", "google", "requests")


def put(path: epath.PathLike, content: bytes) -> None:
    """Replace an object by `content`; raise UserError that names it if the store refuses."""
    with writing(path):
        _store_of(path).pipe_file(os.fspath(path), content)


def upload(source: Path, path: epath.PathLike) -> None:
    """Replace an object by the content of a file on this machine, without reading it whole."""
    with writing(path):
        _store_of(path).put_file(str(source), os.fspath(path))


def create(path: epath.PathLike, content: bytes) -> bool:
    """Create an object and return True, or return False if it exists already.

    Of several processes that create the same object, exactly one gets True. `content` has to differ
    between them: a request that was repeated may find the object of its first attempt.
    """
    store, name = _store_of(path), os.fspath(path)
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
            return _store_of(path).cat_file(os.fspath(path))
        except FileNotFoundError:
            return None


def download(path: epath.PathLike, target: Path) -> None:
    """Copy an object to a file on this machine, without reading it whole."""
    with reading(path):
        _store_of(path).get_file(os.fspath(path), str(target))


def listing(folder: epath.PathLike) -> Mapping[str, int]:
    """Return the bytes of all objects below a folder, by their path relative to it."""
    store, prefix = _store_of(folder), os.fspath(folder).rstrip("/")
    with reading(folder):
        entries = store.find(prefix, detail=True)
    start = len(store._strip_protocol(prefix)) + 1
    return {name[start:]: entry["size"] for name, entry in entries.items() if name[start:]}


def is_folder(path: epath.PathLike) -> bool:
    """Return whether there are objects below a path; raise UserError if the store refuses."""
    store = _store_of(path)
    with reading(path):
        try:
            return store.info(os.fspath(path))["type"] == "directory"
        except FileNotFoundError:
            return False


def remove(path: epath.PathLike) -> None:
    """Remove an object; nothing happens if there is none."""
    with writing(path), contextlib.suppress(FileNotFoundError):
        _store_of(path).rm_file(os.fspath(path))


def refuse_missing_bucket(path: epath.PathLike) -> None:
    """Raise UserError if the bucket of `path` does not exist or may not be used.

    Writing to a missing bucket and reading a missing object fail alike; this tells them apart.
    """
    bucket = bucket_of(path)
    store = _store_of(path)
    with reading(bucket):
        try:
            store.info(bucket)
        except FileNotFoundError:
            raise UserError(
                f"{path}: there is no bucket {bucket}; create it, or correct the name"
            ) from None


def bucket_of(path: epath.PathLike) -> str:
    """Return the address of the bucket, such as "gs://bucket"."""
    store, _, rest = os.fspath(path).partition("://")
    return f"{store}://{rest.split('/')[0]}"


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
    """Turn errors of a store into a UserError that names the object."""
    with _refusing(path, "written"):
        yield


@contextlib.contextmanager
def reading(path: epath.PathLike) -> Iterator[None]:
    """Turn errors of a store into a UserError that names the object."""
    with _refusing(path, "read"):
        yield


@contextlib.contextmanager
def _refusing(path: epath.PathLike, action: str) -> Iterator[None]:
    try:
        yield
    except (UserError, FileExistsError):
        raise
    except Exception as error:  # every client has its own: for rights, for names, for the network
        if not is_remote(path):
            raise
        store = os.fspath(path).partition("://")[0]
        raise UserError(f"{path}: cannot be {action}: {_reason(error, store)}") from error


def explain(error: BaseException) -> str | None:
    """Return the message for an error of a store's client, or None for any other error."""
    module = type(error).__module__.partition(".")[0]
    if isinstance(error, Exception) and (module in _CLIENTS or str(error).startswith("Forbidden")):
        return f"bucket: {_reason(error, 'gs')}"
    return None


def _reason(error: Exception, store: str) -> str:
    """Return why a store refused a request, in one line and without credentials."""
    text = one_line(error)
    code = getattr(error, "code", None)
    if isinstance(error, FileNotFoundError):
        return "no such bucket or object; check the name"
    if isinstance(error, PermissionError) or text.startswith("Forbidden") or code in (401, 403):
        return f"permission denied{_RIGHTS.get(store, '')}"
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
        return f"no valid credentials{_SIGN_IN.get(store, '')}"
    if isinstance(error, ImportError):
        return f"no installed package can reach this store ({text})"
    shown = f"HTTP status {code}" if code else f"{type(error).__name__}: {text}"
    return f"the store did not answer as expected ({shown}); repeat the command"


def _store_of(path: epath.PathLike) -> AbstractFileSystem:
    """Return the client of a path's store, as `etils.epath` has it."""
    return epath.backend.fsspec_backend.fs(os.fspath(path))
