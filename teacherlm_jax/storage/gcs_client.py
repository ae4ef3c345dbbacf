"""The client of gs:// in this package: `gcsfs`, with what a long run on a bucket needs.

- A request that fails for the moment is repeated for `objects.PATIENCE` seconds, also after a
  timeout or a broken connection.
- A request that fails raises `StoreError` with the address of the object. Only a missing object and
  one that exists already keep their own errors.
- `exists`, `isdir` and `glob` raise the errors of the store. `gcsfs` takes some of them for "no".
- An answer that is shorter than the object, or has another checksum, is read again.
"""

import asyncio
import base64
import contextlib
import errno
import json
import random
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import aiohttp
import google_crc32c
from gcsfs.core import GCSFileSystem
from gcsfs.retry import ChecksumError, is_retriable
from google.auth.exceptions import RefreshError

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import disk_errors, objects
from teacherlm_jax.storage.store_errors import StoreError, is_forbidden, reason

_LONGEST_PAUSE = 16.0  # seconds between two attempts
_BLOCK = 1 << 20  # bytes of a file that are read at a time
_OBJECT = re.compile(r"(?:^|/)b/([^/?]+)(?:/o(?:/([^/?]+))?)?")
_ACTIONS = {"GET": "read", "DELETE": "removed"}
_NAME = re.compile(rb'"name": ("(?:[^"\\]|\\.)*")')  # in the first part of an upload

_Answer = TypeVar("_Answer")


class BucketClient(GCSFileSystem):
    """The file system of gs:// for `fsspec`.

    The class `gcsfs.GCSFileSystem` also reads zonal buckets. It sends their requests around
    `_request`, and asks a second service about every bucket.
    """

    async def _request(self, method: str, path: str, *args: str, **options: Any) -> Any:
        async def attempt() -> Any:
            answer = await _once(GCSFileSystem._request)(self, method, path, *args, **options)
            status, headers, _, content = answer
            if "alt=media" in path:
                _verify(status, headers, [content])
            return answer

        if method == "DELETE" and "/upload/" in path:  # cancels an upload that has failed
            with contextlib.suppress(Exception):
                return await attempt()
            return 0, {}, None, b""
        with _naming(_address(path, args, options), _ACTIONS.get(method, "written"), path):
            return await self._persist(attempt)

    async def _get_file_request(self, rpath: str, lpath: str, *args: Any, **options: Any) -> Any:
        async def attempt() -> Any:
            answer = await _once(GCSFileSystem._get_file_request)(
                self, rpath, lpath, *args, **options
            )
            _verify(answer[0], answer[1], _blocks(lpath))
            return answer

        with _naming(f"gs://{self._strip_protocol(rpath)}", "read"):
            return await self._persist(attempt)

    async def _persist(self, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Repeat an attempt while it fails for the moment and `PATIENCE` lasts."""
        silence = objects.SILENCE
        self.requests_timeout = aiohttp.ClientTimeout(None, sock_connect=silence, sock_read=silence)
        end, pause = time.monotonic() + objects.PATIENCE, objects.PATIENCE / 60
        while True:
            try:
                return await attempt()
            except Exception as error:
                wait = pause * (1 + random.random())
                if not _is_transient(error) or time.monotonic() + wait > end:
                    raise
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _info(self, path: str, *args: Any, **options: Any) -> Any:
        with _naming(f"gs://{self._strip_protocol(path)}", "read"):
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
    """Turn an error of a request into a StoreError, or into one about existence with the address.

    Without the right to read an object, `gcsfs` looks for it in the listing, so "forbidden" stays
    as it is for requests about an object itself.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and disk_errors.is_local(error):
            raise
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "No such object", address) from None
        if isinstance(error, FileExistsError):
            raise FileExistsError(errno.EEXIST, "exists already", address) from None
        if path.startswith("b/") and not path.endswith("/o") and is_forbidden(error):
            raise
        raise StoreError(f"{address}: cannot be {action}: {reason(error, 'gs')}") from error


def _once(method: Any) -> Any:
    """Return a method of `gcsfs` without its own repetitions."""
    return method.__wrapped__


def _is_transient(error: Exception) -> bool:
    if isinstance(error, RefreshError):
        return error.retryable
    return is_retriable(error) or isinstance(error, TimeoutError | ConnectionError)


def _verify(status: int, headers: Any, content: Any) -> None:
    """Raise ChecksumError if the content of an object is not all that was asked for."""
    size, checksum = 0, google_crc32c.Checksum()
    for block in content:
        size += len(block)
        checksum.update(block)
    if status == 206:
        part = re.match(r"bytes (\d+)-(\d+)", headers.get("Content-Range", ""))
        if part and size != int(part[2]) + 1 - int(part[1]):
            raise ChecksumError(f"{size} bytes of {part[0]}")
    elif headers.get("X-Goog-Stored-Content-Encoding", "identity") == "identity":
        hashes = ",".join(headers.getall("X-Goog-Hash", [])).split(",")
        told = [entry.strip()[7:] for entry in hashes if entry.strip().startswith("crc32c=")]
        if told and base64.b64decode(told[0]) != checksum.digest():
            raise ChecksumError(f"wrong checksum of {size} bytes")


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _address(path: str, args: tuple[str, ...], options: Mapping[str, Any]) -> str:
    """Return the address of the object or bucket that a request is about."""
    whole = path.format(*[urllib.parse.quote(arg, safe="") for arg in args])
    url = urllib.parse.urlsplit(whole)
    found = _OBJECT.search(url.path)
    if not found:
        return "gs://"
    key = found[2] or dict(urllib.parse.parse_qsl(url.query)).get("name") or options.get("prefix")
    data = options.get("data")
    if not key and isinstance(data, bytes) and (named := _NAME.search(data[:4096])):
        key = json.loads(named[1])
    return f"gs://{found[1]}/{urllib.parse.unquote(key or '')}".rstrip("/")
