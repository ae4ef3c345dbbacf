"""The client of gs:// in this package: `gcsfs`, with what a long run on a bucket needs.

- Transient errors are retried for `objects.PATIENCE` seconds, also timeouts and broken connections.
- A request that fails raises `StoreError` with the address of the object. Only a missing object and
  one that exists already keep their own errors.
- `exists`, `isdir` and `glob` raise the errors of the store. `gcsfs` answers "no" for some of them.
- Truncated responses are retried, and so are wrong checksums of objects that are read or downloaded
  whole. Parts of an object have no checksum.
"""

import asyncio
import contextlib
import errno
import json
import logging
import os
import random
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import aiohttp
from fsspec.asyn import sync_wrapper
from gcsfs.core import GCSFileSystem
from gcsfs.retry import is_retriable
from google.auth.exceptions import TransportError

from teacherlm_jax.config.names import BUCKET
from teacherlm_jax.errors import ExplainedError, StoreError, UserError
from teacherlm_jax.storage import checksums, disk_errors, objects
from teacherlm_jax.storage.store_errors import (
    is_forbidden,
    is_of_client,
    is_signed_out,
    reason,
)

_LONGEST_PAUSE = 16.0  # seconds between two attempts
_LARGE = 100 << 20  # bytes above which an object is downloaded in parts, many at a time
_OBJECT = re.compile(r"(?:^|/)b/([^/?]+)(?:/o(?:/([^/?]+))?)?")
_ZONE = re.compile(rb'"locationType":\s*"zone"')
_LOCATION_SECONDS = 10.0  # timeout for the request for the location of a bucket
_ACTIONS = {"GET": "read", "DELETE": "removed"}
_NAME = re.compile(rb'"name": ("(?:[^"\\]|\\.)*")')  # in the first part of an upload

_Answer = TypeVar("_Answer")


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return whether a log record is about no error of this client, which raises its errors."""
    raised = record.exc_info[1] if record.exc_info else None
    about = record.args if isinstance(record.args, tuple) else ()
    return not any(_is_own(error) for error in (raised, *about))


def _is_own(error: object) -> bool:
    """Return whether this client raised an error, also one about existence; see `_naming`."""
    if isinstance(error, FileNotFoundError | FileExistsError):
        return str(error.filename).startswith(BUCKET)
    return isinstance(error, StoreError)


# Both log errors of requests with tracebacks, and raise them, too.
for _name in ("gcsfs", "fsspec.prefetcher"):
    logging.getLogger(_name).addFilter(_is_of_others)


class BucketClient(GCSFileSystem):
    """The file system of gs:// for `fsspec`.

    The class `gcsfs.GCSFileSystem` also reads zonal buckets. It sends their requests around
    `_request`, and asks a second service about every bucket. This class refuses zonal buckets.
    Buckets with a hierarchical namespace have the same API as all others.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._zonal: dict[str, asyncio.Task[bool]] = {}  # by bucket

    async def _request(self, method: str, path: str, *args: str, **options: Any) -> Any:
        async def attempt() -> Any:
            answer = await _once(GCSFileSystem._request)(self, method, path, *args, **options)
            status, headers, _, content = answer
            if "alt=media" in path:
                checksums.verify(status, headers, [content])
            return answer

        if method == "DELETE" and "/upload/" in path:  # cancels an upload that has failed
            with contextlib.suppress(Exception):
                return await attempt()
            return 0, {}, None, b""
        address = _address(path, args, options)
        await self._refuse_zonal(address.removeprefix(BUCKET).partition("/")[0])
        with _naming(address, _ACTIONS.get(method, "written"), path):
            return await self._persist(attempt)

    async def _refuse_zonal(self, bucket: str) -> None:
        """Raise UserError for a zonal bucket; this sends one request for each bucket."""
        if not bucket:
            return
        if bucket not in self._zonal:
            self._zonal[bucket] = asyncio.ensure_future(self._is_zonal(bucket))
        if await asyncio.shield(self._zonal[bucket]):  # one of several requests may be cancelled
            raise UserError(
                f"{BUCKET}{bucket}: zonal buckets (Rapid Storage) are not supported; create a "
                "bucket in a region, and copy the objects there with gcloud storage cp --recursive"
            )

    async def _is_zonal(self, bucket: str) -> bool:
        """Return whether a bucket is in a zone; False if its location cannot be read."""
        asked = _once(GCSFileSystem._request)(self, "GET", "b/{}", bucket, fields="locationType")
        try:
            answer = await asyncio.wait_for(asked, min(objects.SILENCE, _LOCATION_SECONDS))
        except Exception as error:  # such as a missing permission; other requests may work
            if not is_of_client(error):
                raise
            return False
        return _ZONE.search(answer[3]) is not None

    async def _get_file_request(self, rpath: str, lpath: str, *args: Any, **options: Any) -> Any:
        async def attempt() -> Any:
            answer = await _once(GCSFileSystem._get_file_request)(
                self, rpath, lpath, *args, **options
            )
            # In a thread: the event loop also serves heartbeats and other downloads.
            await asyncio.to_thread(checksums.verify, answer[0], answer[1], checksums.blocks(lpath))
            return answer

        with _naming(f"{BUCKET}{self._strip_protocol(rpath)}", "read"):
            return await self._persist(attempt, is_long=True)

    async def _get_threshold_for_disk_reads(self, bucket: str) -> int:
        return _LARGE

    async def _get_file_concurrent(
        self, rpath: str, lpath: str, *args: Any, **options: Any
    ) -> None:
        async def attempt() -> None:
            await _once(GCSFileSystem._get_file_concurrent)(self, rpath, lpath, *args, **options)
            if os.path.getsize(lpath) > _LARGE:  # others were verified with their request
                stored = (await self._get_object(rpath))["crc32c"]
                checksums.compare(
                    stored, await asyncio.to_thread(checksums.checksum, checksums.blocks(lpath))
                )

        with _naming(f"{BUCKET}{self._strip_protocol(rpath)}", "read"):
            await self._persist(attempt, is_long=True)

    async def _persist(
        self, attempt: Callable[[], Awaitable[_Answer]], *, is_long: bool = False
    ) -> _Answer:
        """Retry transient errors for `PATIENCE` seconds.

        Args:
            attempt: sends the request.
            is_long: count the seconds from the first error, because an attempt takes long.
        """
        silence = objects.SILENCE
        self.requests_timeout = aiohttp.ClientTimeout(None, sock_connect=silence, sock_read=silence)
        end, pause = time.monotonic() + objects.PATIENCE, objects.PATIENCE / 60
        while True:
            try:
                return await attempt()
            except Exception as error:
                if is_long:
                    end, is_long = time.monotonic() + objects.PATIENCE, False
                wait = pause * (1 + random.random())
                if not _is_transient(error) or time.monotonic() + wait > end:
                    raise
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _read_version(self, path: str) -> tuple[bytes, str]:
        """Return the content of an object, and its generation."""
        headers, content = await self._call("GET", self.url(path))
        return content, headers["X-Goog-Generation"]

    async def _replace_version(self, path: str, content: bytes, generation: str) -> None:
        """Replace an object that still has a generation; otherwise raise FileExistsError."""
        bucket, name, _ = self.split_path(path)
        edge = "==0=="
        kinds = ("application/json; charset=UTF-8", "application/octet-stream")
        parts = zip(kinds, (json.dumps({"name": name}).encode(), content), strict=True)
        body = b"".join(
            f"--{edge}\nContent-Type: {kind}\n\n".encode() + part + b"\n" for kind, part in parts
        )
        await self._call(
            "POST",
            f"{self._location}/upload/storage/v1/b/{bucket}/o",
            uploadType="multipart",
            ifGenerationMatch=generation,
            headers={"Content-Type": f'multipart/related; boundary="{edge}"'},
            data=body + f"--{edge}--".encode(),
        )

    async def _date(self, path: str) -> str:
        """Return the header Date of the answer to a listing of one object."""
        bucket, prefix, _ = self.split_path(path)
        headers, _ = await self._call("GET", "b/{}/o", bucket, prefix=prefix, maxResults=1)
        return headers["Date"]

    async def _describe(self, bucket: str) -> Mapping[str, Any]:
        """Return what the store says about a bucket; Orbax sends the same request."""
        return await self._call("GET", "b/{}", self.split_path(bucket)[0], json_out=True)

    date = sync_wrapper(_date)
    describe = sync_wrapper(_describe)
    read_version = sync_wrapper(_read_version)
    replace_version = sync_wrapper(_replace_version)

    async def _info(self, path: str, *args: Any, **options: Any) -> Any:
        with _naming(f"{BUCKET}{self._strip_protocol(path)}", "read"):
            return await super()._info(path, *args, **options)

    async def _isdir(self, path: str) -> bool:
        try:
            return (await self._info(path))["type"] == "directory"
        except FileNotFoundError:
            return False

    async def _isfile(self, path: str) -> bool:
        try:
            return (await self._info(path))["type"] == "file"
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def _naming(address: str, action: str, path: str = "") -> Iterator[None]:
    """Turn an error of a request into one that names the address.

    It is FileNotFoundError for a missing object, FileExistsError for one that exists already, and
    StoreError for anything else.
    Without permission to read an object, `gcsfs` searches the listing for it, so "forbidden" is
    raised unchanged for requests about an object itself.
    """
    try:
        yield
    except ExplainedError:
        raise
    except Exception as error:
        if not is_of_client(error) or (isinstance(error, OSError) and disk_errors.is_local(error)):
            raise
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "No such object", address) from None
        if isinstance(error, FileExistsError):
            raise FileExistsError(errno.EEXIST, "exists already", address) from None
        if path.startswith("b/") and not path.endswith("/o") and is_forbidden(error):
            raise
        raise StoreError(f"{address}: cannot be {action}: {reason(error, 'gs')}") from error


def _once(method: Any) -> Any:
    """Return a method of `gcsfs` without its own retries."""
    return method.__wrapped__


def _is_transient(error: Exception) -> bool:
    if is_signed_out(error):
        return False
    return is_retriable(error) or isinstance(error, TimeoutError | ConnectionError | TransportError)


def _address(path: str, args: tuple[str, ...], options: Mapping[str, Any]) -> str:
    """Return the address of the object or bucket that a request is about."""
    whole = path.format(*[urllib.parse.quote(arg, safe="") for arg in args])
    url = urllib.parse.urlsplit(whole)
    named = _OBJECT.search(url.path)
    if not named:
        return BUCKET
    bucket, key = named.groups()
    key = key or dict(urllib.parse.parse_qsl(url.query)).get("name") or options.get("prefix")
    data = options.get("data")
    if not key and isinstance(data, bytes) and (name := _NAME.search(data[:4096])):
        key = json.loads(name[1])
    return f"{BUCKET}{bucket}/{urllib.parse.unquote(key or '')}".rstrip("/")
