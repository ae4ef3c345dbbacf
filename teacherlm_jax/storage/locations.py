"""Paths and globs, on this machine or in a store that `etils.epath` knows."""

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator

from etils import epath

from teacherlm_jax.config.names import ADDRESS, BUCKET, HUB
from teacherlm_jax.errors import ExplainedError, MissingFile, StoreError, UserError, one_line
from teacherlm_jax.storage import store_errors
from teacherlm_jax.storage.paths import StoragePath

STORES = (BUCKET, "s3://", "az://", HUB)  # those of etils.epath
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs", "hf": "huggingface_hub"}  # their clients


def is_remote(path: epath.PathLike) -> bool:
    """Return whether a path is in a store and not on this machine."""
    return os.fspath(path).startswith(STORES)


def is_elsewhere(path: str) -> bool:
    """Return whether a path is an address that is not in a bucket of gs://, as `hf://org/name`."""
    return bool(ADDRESS.match(path)) and not path.startswith(BUCKET)


def absolute(path: epath.PathLike) -> epath.Path:
    """Return a path that does not depend on the working directory; an address stays as it is."""
    return StoragePath(path) if is_remote(path) else StoragePath(path).absolute()


def under(root: epath.PathLike, path: str) -> epath.Path:
    """Return `path` below `root`, or `path` itself if it is absolute; `~` is the user's home.

    Raises UserError for an address, such as that of a website, that is not in a supported store.
    """
    path = os.path.expanduser(path)
    folder = os.path.expanduser(os.fspath(root))
    whole = path if ADDRESS.match(path) else os.path.join(folder, path)
    if ADDRESS.match(whole) and not is_remote(whole):
        raise UserError(
            f"{whole}: not in a supported store; expected a path on this machine, or one that "
            f"begins with {', '.join(STORES)}"
        )
    return StoragePath(whole)


def expand(root: epath.PathLike, pattern: str) -> list[epath.Path]:
    """Return the files that `pattern` (a path or a glob below `root`) names, sorted by name.

    Raises UserError if no file matches.
    """
    full = under(root, pattern)
    with refusing(full):
        if full.exists() and not full.is_dir():  # a name that contains brackets or stars
            return [full]
        matches = sorted(path for path in _matches(root, pattern) if not path.is_dir())
    if not matches:
        raise UserError(f"{full}: no file matches; give a path or a glob that names existing files")
    return matches


def any_exists(root: epath.PathLike, pattern: str) -> bool:
    """Return whether `pattern` (a path or a glob below `root`) names a file or folder.

    Raises UserError if the place cannot be read.
    """
    full = under(root, pattern)
    with refusing(full):
        return full.exists() or any(True for _ in _matches(root, pattern))


def _matches(root: epath.PathLike, pattern: str) -> Iterable[epath.Path]:
    full = under(root, pattern)
    if "**" in pattern:
        raise UserError(f"{full}: ** is not supported; write one * for each level of folders")
    if not is_remote(full):
        folder = glob.escape(os.path.expanduser(os.fspath(root)))
        names = glob.glob(os.path.join(folder, os.path.expanduser(pattern)))
        return map(StoragePath, names)
    store, bucket, *folders = full.parts[1:]  # ("/", "gs", "bucket", …)
    return StoragePath(f"{store}://{bucket}").glob("/".join(folders))


@contextlib.contextmanager
def refusing(path: epath.Path) -> Iterator[None]:
    """Turn errors of opening or reading a file, or of its store, into one that names it."""
    try:
        yield
    except ExplainedError:
        raise
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file; restore it or correct the path") from None
    except Exception as error:
        if is_remote(path) and store_errors.is_of_client(error):
            raise _refused(path, error) from error
        if is_remote(path) or not isinstance(error, OSError):
            raise
        reason = one_line(error.strerror or error)
        raise UserError(
            f"{path}: cannot be read: {reason}; correct that, or name another file"
        ) from error


def _refused(path: epath.Path, error: Exception) -> ExplainedError:
    """Return the error to raise for an error of a store's client."""
    store = os.fspath(path).partition("://")[0]
    # ImportError is of fsspec. TensorFlow's error is for stores that it was built without.
    if isinstance(error, ImportError) or type(error).__name__ == "UnimplementedError":
        return UserError(
            f"{path}: no installed package can read {store}:// ({store_errors.clean(error)}); run "
            f"pip install {_PACKAGES[store]}, or copy the files to this machine"
        )
    return StoreError(f"{path}: cannot be read: {store_errors.reason(error, store)}")
