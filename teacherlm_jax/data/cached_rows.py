"""Rows of a bucket, read from a copy on this machine.

Training reads rows in random order. From a bucket each row is a request of its own, so the shards
are copied to a cache first, whole and checked by digest.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.reader import PREPARE_AGAIN
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files, local_cache, objects
from teacherlm_jax.storage.locations import is_remote

_DOWNLOADS = 8  # at the same time
_GIB = 1 << 30


@dataclasses.dataclass
class RowCache:
    """A cache of prepared data on this machine, and the datasets in it that this process uses.

    Attributes:
        folder: folder of the cache; `~` is the user's home, and empty means no cache.
        limit_gib: GiB that all datasets in the cache may have together.
        verify: compare the digests of shards that are in the cache already, too.
        say: gets lines about copies.
    """

    folder: str
    limit_gib: float
    verify: bool
    say: Callable[[str], None]
    _used: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def local(self, data: Prepared) -> Prepared:
        """Return prepared data whose rows are on this machine until `close` is called.

        Data on this machine is returned as it is. So is data in a bucket if there is no cache or no
        room in it, which is logged; its rows are then read from the bucket.

        Raises UserError if a shard cannot be read or differs from the manifest.
        """
        if not (self.folder and is_remote(data.folder)):
            return data
        root = Path(os.path.expanduser(self.folder))
        size = sum(shard["bytes"] for shard in data.manifest["shards"])
        try:
            folder = self._used.enter_context(
                local_cache.held(
                    *(root, data.digest.replace(":", "-"), size, int(self.limit_gib * _GIB)),
                    lambda folder: self._fill(folder, data),
                    self.say,
                )
            )
        except local_cache.NoRoomError as reason:
            self.say(
                f"{root}: no room for {data.folder}: {reason}; its rows are read from the bucket, "
                "which is slower; raise config.data_cache_gib, or name a folder on a larger disk "
                "in config.data_cache"
            )
            return data
        return dataclasses.replace(data, folder=epath.Path(folder))

    def close(self) -> None:
        """Allow other processes to remove the datasets that this process used."""
        self._used.close()

    def _fill(self, folder: Path, data: Prepared) -> None:
        """Copy the shards that the folder lacks."""
        shards = data.manifest["shards"]
        lacking = [shard for shard in shards if not _is_whole(folder, shard, self.verify)]
        if lacking:
            megabytes = sum(shard["bytes"] for shard in lacking) / 1e6
            count = f"{len(lacking)} of {len(shards)} shards"
            self.say(f"{data.folder}: copying {count}, {megabytes:.1f} MB, to {folder}")
        with ThreadPoolExecutor(_DOWNLOADS) as downloads:
            list(downloads.map(lambda shard: _copy(data.folder, folder, shard), lacking))


def _is_whole(folder: Path, shard: Mapping[str, Any], verify: bool) -> bool:
    path = folder / shard["name"]
    if not path.is_file() or path.stat().st_size != shard["bytes"]:
        return False
    return not verify or files.file_digest(path) == shard["digest"]


def _copy(source: epath.Path, folder: Path, shard: Mapping[str, Any]) -> None:
    """Copy a shard to the cache under its name, once its digest is checked."""
    temporary = folder / f".{shard['name']}"
    objects.download(source / shard["name"], temporary)
    digest = files.file_digest(temporary)
    if digest != shard["digest"]:
        temporary.unlink()
        raise UserError(
            f"{source / shard['name']}: digest is {digest}, expected {shard['digest']} as in the "
            f"manifest; {PREPARE_AGAIN}"
        )
    temporary.rename(folder / shard["name"])
