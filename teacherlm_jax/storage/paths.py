"""Paths on this machine and in stores, whose methods use clients that belong to this package.

The paths of `etils.epath` use clients from fsspec's registry, which pandas and other libraries of
the process share. Its entry for gs:// is `gcsfs`, which answers "no" for some errors. So a path
that may be in a store is a `StoragePath`, also when it is given to Orbax, which derives its own
paths from it.

Some libraries have clients of their own: TensorStore (arrays of checkpoints), ArrayRecord,
TensorFlow and TFDS (datasets of TFDS in a bucket), and Orbax where it lists the steps in a bucket
with a hierarchical namespace.
"""

import os

import fsspec
from etils import epath
from etils.epath import backend, gpath
from fsspec.spec import AbstractFileSystem

from teacherlm_jax.errors import UserError

_OF_BUCKETS = ("gcsfs", "google")  # imports of the extra [gcs]


def client(path: epath.PathLike) -> AbstractFileSystem:
    """Return this package's client of a path's store.

    It keeps no listings, which would miss what other processes write. Raises UserError if the
    packages for gs:// are not installed.
    """
    store = os.fspath(path).partition("://")[0]
    if store == "gs":
        try:
            from teacherlm_jax.storage.gcs_client import BucketClient  # takes a second to import
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(_OF_BUCKETS):
                raise
            raise UserError(
                f"{os.fspath(path)}: paths in a bucket need packages that are not installed "
                f"({error}); run `pip install -r requirements-gcs.txt` in a clone of the "
                "repository, or name a folder on this machine"
            ) from error
        return BucketClient(use_listings_cache=False)
    return fsspec.filesystem(store, use_listings_cache=False)


class _Clients(backend._FileSystemSpecBackend):
    """The operations of `etils.epath` with the clients of this package."""

    def fs(self, path: epath.PathLike) -> AbstractFileSystem:
        return client(path)


_CLIENTS = _Clients()


class StoragePath(gpath.PosixGPath):
    """A path on this machine or in a store; see `etils.epath`."""

    def __truediv__(self, other: epath.PathLike) -> "StoragePath":
        """Return the other path if it is absolute or in a store, else the joined one."""
        text = os.fspath(other)
        return (
            type(self)(text) if text.startswith("/") or "://" in text else super().__truediv__(text)
        )

    @property
    def _backend(self) -> backend.Backend:
        return _CLIENTS if self._uri_scheme else backend.os_backend
