"""PyTorch's `.bin`: a zip of one pickle, which says what is there, and of the tensors' bytes.

A pickle is a program. This one gets a machine on which nothing can be done: the few names that a
dictionary of tensors needs lead to inert stand-ins, every other name ends the reading, and torch is
not there. The bytes lie in the zip as they are, so tensors are read like those of any other file.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.stored import DTYPES, Stored

_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    **{
        f"{kind}Storage": kind.lower()
        for kind in ("Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}
_LOCAL_HEADER = 30  # bytes before an entry's own name, whose length and the next's end it
_WAY_OUT = "load it with transformers where you trust it, and save it as safetensors"


class _StorageType(NamedTuple):
    dtype: str


class _Storage(NamedTuple):
    dtype: str
    key: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dictionary(dict):
    """Stands for OrderedDict; takes the attributes that a state dict carries along."""


class _StandIn(NamedTuple):
    """What a name in the pickle leads to: it can be called, and not changed."""

    make: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    whole = isinstance(storage, _Storage) and type(offset) is int and offset >= 0
    for sizes in (shape, strides):
        whole = whole and isinstance(sizes, tuple) and all(type(n) is int and n >= 0 for n in sizes)
    if not whole or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor without storage, shape and strides")
    return _Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _StandIn(_Dictionary),
    ("torch._utils", "_rebuild_tensor_v2"): _StandIn(_tensor),
    ("torch._utils", "_rebuild_parameter"): _StandIn(_parameter),
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise _Refused(f"{module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType(dtype), str(key), _, _):
                return _Storage(dtype, key)
        raise pickle.UnpicklingError("a reference to something other than a tensor's bytes")


class _Refused(Exception):
    """The name that a pickle asked for and does not get."""


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name.

    Raises UserError for a file that is no such zip or was cut, for a pickle that asks for anything
    but tensors (none of which is run), and, by name, for what cannot be read as it lies there.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError):
        raise UserError(
            f"{path}: no whole zip file, as PyTorch writes them since 1.6: either it is cut short, "
            f"and you copy it again, or it is older: {_WAY_OUT}"
        ) from None
    with archive:
        entries = {info.filename: info for info in archive.infolist()}
        root = next((name[: -len("data.pkl")] for name in entries if _is_pickle(name)), None)
        if root is None:
            raise UserError(f"{path}: a zip file without data.pkl is none of PyTorch's")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise UserError(f"{path}: its numbers are big-endian; {_WAY_OUT}")
        tensors = _unpickled(path, archive.read(f"{root}data.pkl"))
    with path.open("rb") as file:
        return {
            name: _stored(path, name, tensor, entries.get(f"{root}data/{tensor.storage.key}"), file)
            for name, tensor in tensors.items()
        }


def _is_pickle(name: str) -> bool:
    return name.count("/") <= 1 and name.rpartition("/")[2] == "data.pkl"


def _unpickled(path: Path, content: bytes) -> dict[str, _Tensor]:
    try:
        found = _Unpickler(io.BytesIO(content)).load()
    except _Refused as error:
        raise UserError(
            f"{path}: its pickle asks for {error}, which tensors do not need; nothing of it was "
            f"run: {_WAY_OUT}"
        ) from None
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError,
            MemoryError, RecursionError) as error:  # fmt: skip
        raise UserError(f"{path}: its pickle cannot be read: {error}; copy it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, wanted a dictionary of tensors")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise UserError(
                f"{path}: {name!r} is no tensor; wanted the dictionary that save_pretrained writes"
            )
    return found


def _stored(
    path: Path, name: str, tensor: _Tensor, entry: zipfile.ZipInfo | None, file: io.BufferedReader
) -> Stored:
    """Where the tensor's bytes lie in the file itself."""
    if entry is None:
        raise UserError(f"{path}: the bytes of {name} are missing; copy it again")
    if tensor.strides != _row_major(tensor.shape):
        raise UserError(
            f"{path}: {name} of shape {list(tensor.shape)} is stored with strides "
            f"{list(tensor.strides)}; wanted {list(_row_major(tensor.shape))}: {_WAY_OUT}"
        )
    if entry.compress_type != zipfile.ZIP_STORED:
        raise UserError(f"{path}: {name} is compressed, which PyTorch never does: {_WAY_OUT}")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    start = entry.header_offset + _LOCAL_HEADER
    start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    dtype = tensor.storage.dtype
    if dtype not in DTYPES:
        return Stored(path, name, tensor.shape, dtype, start)
    width = DTYPES[dtype].itemsize
    stored = Stored(path, name, tensor.shape, dtype, start + tensor.offset * width)
    if stored.nbytes + tensor.offset * width > entry.file_size:
        raise UserError(
            f"{path}: {name} of shape {list(tensor.shape)} in {dtype} wants "
            f"{stored.nbytes} bytes and has {entry.file_size}; copy it again"
        )
    return stored


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
