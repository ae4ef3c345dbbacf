"""The safetensors format: eight bytes of length, a JSON header, and the tensors' bytes.

Written from its specification (github.com/huggingface/safetensors). Nothing in a file is executed.
"""

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.stored import DTYPES, Stored

_TAGS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_LENGTH = 8  # bytes that tell the length of the header
_LONGEST_HEADER = 100_000_000  # bytes, as the specification has it


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name.

    Raises UserError for a file that is no safetensors, and, naming the tensor, where its place in
    the file does not hold its shape, lies beyond the end of a file that was cut, or is another's.
    """
    size, header, start = _read_json(path)
    tensors: dict[str, Stored] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = _place(path, name, entry)
        dtype = _TAGS.get(entry["dtype"], entry["dtype"])
        tensors[name] = Stored(path, name, tuple(entry["shape"]), dtype, start + begin)
        if dtype in DTYPES and end - begin != tensors[name].nbytes:
            raise _corrupt(
                path,
                f"{name} has {end - begin} bytes, its shape {list(tensors[name].shape)} in {dtype} "
                f"wants {tensors[name].nbytes}",
            )
        places.append((begin, end, name))
    _refuse_overlaps(path, places)
    for _, end, name in sorted(places):
        if start + end > size:
            raise UserError(
                f"{path}: is cut short: {name} ends at byte {start + end}, the file at {size}; "
                "copy it again"
            )
    return tensors


def _read_json(path: Path) -> tuple[int, dict[str, Any], int]:
    """The file's size, its header, and where the tensors' bytes begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if size < _LENGTH or length > min(size - _LENGTH, _LONGEST_HEADER):
            raise _corrupt(path, f"says that its header has {length} bytes, and has {size} in all")
        content = file.read(length)
    try:
        header = json.loads(content)
    except (ValueError, RecursionError):
        raise _corrupt(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _corrupt(path, "its header is no JSON object")
    return size, header, _LENGTH + length


def _place(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where the tensor begins and ends, counted from behind the header."""
    match entry:
        case {"dtype": str(), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            0 <= begin <= end and all(type(size) is int and size >= 0 for size in shape)
        ):
            return begin, end
    raise _corrupt(path, f"its header has {entry!r} for {name}")


def _refuse_overlaps(path: Path, places: list[tuple[int, int, str]]) -> None:
    filled = sorted(place for place in places if place[0] < place[1])
    for (_, end, first), (begin, _, second) in itertools.pairwise(filled):
        if begin < end:
            raise _corrupt(path, f"{first} and {second} lie on the same bytes")


def _corrupt(path: Path, what: str) -> UserError:
    return UserError(f"{path}: no whole safetensors file: {what}; copy it again")


class Writer:
    """Writes one file, its tensors one after the other in the order of the header.

    Used as a context; the file is whole when every tensor of the header was written.
    """

    def __init__(self, path: Path, tensors: Mapping[str, tuple[int, ...]], dtype: str):
        """`tensors` are shapes by name; all are of one dtype, a key of DTYPES."""
        tag = next(tag for tag, name in _TAGS.items() if name == dtype)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
        end = 0
        for name, shape in tensors.items():
            begin, end = end, end + math.prod(shape) * DTYPES[dtype].itemsize
            header[name] = {"dtype": tag, "shape": list(shape), "data_offsets": [begin, end]}
        content = json.dumps(header, separators=(",", ":")).encode()
        content += b" " * (-len(content) % _LENGTH)  # the tensors begin at a multiple of eight
        self._path, self._size = path, _LENGTH + len(content) + end
        self._start = len(content).to_bytes(_LENGTH, "little") + content

    def __enter__(self) -> "Writer":
        self._file = self._path.open("wb")
        self._file.write(self._start)
        return self

    def write(self, block: np.ndarray) -> None:
        """Appends the next rows of the tensor at hand, in the dtype of the file."""
        self._file.write(np.ascontiguousarray(block).view(np.uint8).data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        written = self._file.tell()
        self._file.close()
        if kind is None and written != self._size:
            raise ValueError(f"{self._path}: {written} bytes written, {self._size} announced")
