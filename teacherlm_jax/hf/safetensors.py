"""The safetensors format: the header's length in eight bytes, a JSON header, the tensors' bytes.

Implements the specification (github.com/huggingface/safetensors). Nothing in a file is executed.
"""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Shaped

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.lazy_tensor import DTYPES, MOST_AXES, MOST_BYTES, StoredTensor, refuse_pointer
from teacherlm_jax.storage import ranges

_TAGS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_LENGTH = 8  # bytes that hold the length of the header
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the specification
_FIRST = 1 << 17  # bytes read at once, which hold the header of most files


def read_header(path: epath.Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name.

    Raises UserError for a file in another format, and naming the tensor when its byte range does
    not fit its shape, exceeds a truncated file or overlaps another tensor. The tensors must fill
    the file after the header without gaps, as the specification demands.
    """
    size, header, start = _read_json(path)
    tensors: dict[str, StoredTensor] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = _place(path, name, entry)
        dtype = _TAGS.get(entry["dtype"], entry["dtype"])
        tensors[name] = StoredTensor(path, name, tuple(entry["shape"]), dtype, start + begin)
        if dtype in DTYPES and end - begin != tensors[name].nbytes:
            raise _corrupt(
                path,
                f"{name} has {end - begin} bytes, but its shape {list(tensors[name].shape)} in "
                f"{dtype} needs {tensors[name].nbytes}",
            )
        places.append((begin, end, name))
    _refuse_holes(path, sorted(places), start, size)
    return tensors


def _read_json(path: epath.Path) -> tuple[int, dict[str, Any], int]:
    """Return the file's size, its header, and the position of the first tensor."""
    size = ranges.size(path)
    first = ranges.read(path, 0, _FIRST)
    refuse_pointer(path, first)
    length = int.from_bytes(first[:_LENGTH], "little")
    if size < _LENGTH or length > min(size - _LENGTH, _LONGEST_HEADER):
        raise _corrupt(path, f"its header has {length} bytes, but the file has only {size}")
    content = first[_LENGTH : _LENGTH + length]
    if len(content) < length:
        content += ranges.read(path, _FIRST, _LENGTH + length)
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        twice.extend(key for key, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        header = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise _corrupt(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _corrupt(path, "its header is not a JSON object")
    if twice:
        raise _corrupt(path, f"its header has {reprlib.repr(twice[0])} twice")
    return size, header, _LENGTH + length


def _place(path: epath.Path, name: str, entry: Any) -> tuple[int, int]:
    """Return where the tensor begins and ends, relative to the end of the header."""
    match entry:
        case {"dtype": str(), "shape": list(shape), "data_offsets": [begin, end]} if (
            len(shape) <= MOST_AXES
            and all(type(n) is int and 0 <= n < MOST_BYTES for n in (begin, end, *shape))
            and begin <= end
        ):
            return begin, end
    raise _corrupt(path, f"its header has {reprlib.repr(entry)} for {name}")


def _refuse_holes(
    path: epath.Path, places: list[tuple[int, int, str]], start: int, size: int
) -> None:
    """Raise UserError unless the sorted `places` fill the file from `start` to `size`."""
    filled, before = 0, ""
    for begin, end, name in places:
        if begin < filled:
            raise _corrupt(path, f"{before} and {name} overlap")
        if begin > filled:
            raise _corrupt(path, f"{begin - filled} bytes before {name} belong to no tensor")
        if start + end > size:
            raise UserError(
                f"{path}: is truncated: {name} ends at byte {start + end}, the file at {size}; "
                "copy it again"
            )
        filled, before = end, name
    if start + filled < size:
        raise _corrupt(path, f"its last {size - start - filled} bytes belong to no tensor")


def _corrupt(path: epath.Path, what: str) -> UserError:
    return UserError(f"{path}: is damaged or not a safetensors file: {what}; copy it again")


class SafetensorsWriter:
    """Writes one file, tensor by tensor in the order of the header.

    A context manager; the file is complete when every tensor of the header was written. In a bucket
    it does not appear before.
    """

    def __init__(self, path: epath.Path, tensors: Mapping[str, tuple[int, ...]], dtype: str):
        """`tensors` are shapes by name; all have the same dtype, a key of DTYPES."""
        tag = next(tag for tag, name in _TAGS.items() if name == dtype)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers requires it
        end = 0
        for name, shape in tensors.items():
            begin, end = end, end + math.prod(shape) * DTYPES[dtype].itemsize
            header[name] = {"dtype": tag, "shape": list(shape), "data_offsets": [begin, end]}
        content = json.dumps(header, separators=(",", ":")).encode()
        content += b" " * (-len(content) % _LENGTH)  # aligns the tensors to eight bytes
        self._path, self._size = path, _LENGTH + len(content) + end
        self._start = len(content).to_bytes(_LENGTH, "little") + content

    def __enter__(self) -> "SafetensorsWriter":
        self._file = ranges.new_file(self._path)
        self._file.write(self._start)
        self._written = len(self._start)
        return self

    def write(self, block: Shaped[np.ndarray, "rows ..."]) -> None:
        """Append the next rows of the current tensor, in the dtype of the file."""
        self._file.write(np.ascontiguousarray(block).view(np.uint8).data)
        self._written += block.nbytes

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._written == self._size:
            self._file.close()
            return
        self._file.discard()
        if kind is None:
            raise ValueError(f"{self._path}: {self._written} bytes written, {self._size} announced")
