"""Checks that a response of Google Cloud Storage is complete: its length, and its CRC32C."""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any

import google_crc32c
from gcsfs.retry import ChecksumError

_BLOCK = 1 << 20  # bytes of a file that are read at a time


def verify(status: int, headers: Any, content: Iterable[bytes]) -> None:
    """Raise ChecksumError if a response is truncated or has another checksum than its object."""
    size, received = checksum(content)
    if status == 206:
        part = re.match(r"bytes (\d+)-(\d+)", headers.get("Content-Range", ""))
        if part and size != int(part[2]) + 1 - int(part[1]):
            raise ChecksumError(f"{size} bytes of {part[0]}")
    elif headers.get("X-Goog-Stored-Content-Encoding", "identity") == "identity":
        hashes = ",".join(headers.getall("X-Goog-Hash", [])).split(",")
        sent = [entry.strip()[7:] for entry in hashes if entry.strip().startswith("crc32c=")]
        if sent:
            compare(sent[0], (size, received))


def checksum(content: Iterable[bytes]) -> tuple[int, str]:
    """Return the number of bytes and their CRC32C, as a store writes it."""
    size, crc = 0, google_crc32c.Checksum()
    for block in content:
        size += len(block)
        crc.update(block)
    return size, base64.b64encode(crc.digest()).decode()


def compare(stored: str, received: tuple[int, str]) -> None:
    """Raise ChecksumError if the content that was received has another checksum."""
    if received[1] != stored:
        raise ChecksumError(f"wrong checksum of {received[0]} bytes")


def blocks(path: str) -> Iterator[bytes]:
    """Yield the content of a file in blocks."""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block
