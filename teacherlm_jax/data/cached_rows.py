"""Rows of a bucket, read from a copy on this machine.

Training reads rows in random order. From a bucket each row is a request of its own, so the shards
are copied to a cache first, whole and checked by digest.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import PREPARE_AGAIN
from teacherlm_jax.storage import disk_errors, exchange, files, local_cache
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import GIB

_THREADS = 8  # that download and check shards


class RowCache:
    """A cache of prepared data on this machine, and the copies in it that this process uses."""

    def __init__(
        self, folder: str, *, limit_gib: float, verify: bool, say: Callable[[str], None]
    ) -> None:
        """Name the cache; nothing is written yet.

        Args:
            folder: folder of the cache; `~` is the user's home, and empty means no cache.
            limit_gib: GiB that all datasets in the cache may have together.
            verify: compare the digests of shards that are in the cache already, too.
            say: gets lines about copies.
        """
        self._folder, self._limit = folder, int(limit_gib * GIB)
        self._verify, self._say = verify, say
        self._copies = contextlib.ExitStack()

    def local(self, data: Prepared) -> Prepared:
        """Return prepared data whose rows are on this machine until `close` is called.

        Data on this machine is returned unchanged. Data in a bucket is also returned unchanged if
        there is no cache, or if the cache is full or cannot be written, which is logged. Its rows
        are then read from the bucket.

        Raises UserError if a shard cannot be read or differs from the manifest.
        """
        if not (self._folder and is_remote(data.folder)):
            return data
        try:
            folder = self._copies.enter_context(
                local_cache.held(
                    _expanded(self._folder),
                    data.digest.replace(":", "-"),
                    size=sum(shard["bytes"] for shard in data.manifest["shards"]),
                    limit=self._limit,
                    fill=lambda folder: self._fill(folder, data),
                    say=self._say,
                )
            )
        except local_cache.NoRoomError as error:
            reason = f"{self._folder}: no room for {data.folder}: {error}"
            remedy = "raise config.data_cache_gib, or name a folder on a larger disk in"
        except OSError as error:
            reason = f"{disk_errors.explain(error, self._folder) or error}"
            remedy = "name a folder on another disk in"
        else:
            return dataclasses.replace(data, folder=StoragePath(folder), is_copy=True)
        self._say(
            f"{reason}; the rows of {data.folder} are read from the bucket, which is slower; "
            f"{remedy} config.data_cache"
        )
        return data

    def close(self) -> None:
        """Allow other processes to remove the copies that this process used."""
        self._copies.close()

    def _fill(self, folder: Path, data: Prepared) -> bool:
        """Copy the shards that the folder lacks; return whether all were compared by digest."""
        shards = data.manifest["shards"]
        with ThreadPoolExecutor(_THREADS) as threads:
            whole = threads.map(lambda shard: _is_whole(folder, shard, self._verify), shards)
            lacking = [shard for shard, is_whole in zip(shards, whole, strict=True) if not is_whole]
            if lacking:
                megabytes = sum(shard["bytes"] for shard in lacking) / 1e6
                count = f"{len(lacking)} of {len(shards)} shards"
                self._say(f"{data.folder}: copying {count}, {megabytes:.1f} MB, to {folder}")
            list(threads.map(lambda shard: _fetch(data.folder, folder, shard), lacking))
        return self._verify


def _expanded(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:  # the user has no home
        raise FileNotFoundError(errno.ENOENT, "no home folder", folder) from None


def _is_whole(folder: Path, shard: Mapping[str, Any], verify: bool) -> bool:
    path = folder / shard["name"]
    if not path.is_file() or path.stat().st_size != shard["bytes"]:
        return False
    return not verify or files.file_digest(path) == shard["digest"]


def _fetch(source: epath.Path, folder: Path, shard: Mapping[str, Any]) -> None:
    name = shard["name"]
    exchange.fetch(source / name, folder / name, shard["digest"], remedy=PREPARE_AGAIN)
