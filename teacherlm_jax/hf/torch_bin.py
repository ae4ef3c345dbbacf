"""PyTorch's `.bin` format: a zip file with a pickle that describes the tensors, and their bytes.

The bytes are uncompressed, so tensors are read straight from the zip file. The few bytes around all
entries are read at once, which a bucket answers with many requests at the same time.
"""

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import torch_pickle
from teacherlm_jax.hf.lazy_tensor import DTYPES, StoredTensor, refuse_pointer
from teacherlm_jax.hf.torch_pickle import PickledTensor
from teacherlm_jax.storage import files, ranges
from teacherlm_jax.storage.locations import is_remote

_LOCAL_HEADER = 30  # bytes before an entry's own name and extra fields
# First bytes of what follows an entry: the next entry, a data descriptor, the central directory.
_RECORDS = (b"PK\3\4", b"PK\7\x08", b"PK\1\2")
_LONGEST_PICKLE = 10_000_000  # bytes; a tensor takes about 300
_FIRST = 100  # bytes that tell a Git LFS pointer from a zip file
_LONGEST_WORD = 100  # bytes of an entry that holds one word
_TENSORS = "save only the dictionary of tensors, such as model.state_dict(), with torch.save"


def _rewrite(path: epath.Path) -> str:
    """Return advice to save the file again, in PyTorch's current format and with contiguous rows.

    transformers does not help: it maps the file into memory, and then reads other numbers if
    entries are compressed or big-endian.
    """
    here = repr(path.name if is_remote(path) else str(path))
    rewrite = (
        "rewrite it in Python: import torch; torch.save({name: tensor.contiguous() for name, "
        f"tensor in torch.load({here}, weights_only=True).items()}}, {here})"
    )
    if is_remote(path):  # torch reads files of a file system only
        rewrite = f"copy it to this machine, {rewrite}; then copy it back to {path.parent}"
    return f"where you trust the file, {rewrite}"


def _back(path: epath.Path) -> str:
    """Return what to add to advice that uses torch, which opens files of a file system only."""
    return f" on this machine, and copy it back to {path.parent}" if is_remote(path) else ""


def read_header(path: epath.Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name; their bytes are not read.

    Raises UserError for a file that is damaged, truncated or in another format, for a pickle that
    needs anything but tensors (nothing of it is run), and by name for tensors that are not stored
    as plain rows.
    """
    refuse_pointer(path, ranges.read(path, 0, _FIRST))
    with files.opened(path) as file, _explained(path), zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        root = next((name[: -len("data.pkl")] for name in entries if _is_pickle(name)), None)
        if root is None:
            raise UserError(
                f"{path}: is a zip file without data.pkl, so PyTorch did not write it; copy the "
                "weights again"
            )
        order = entries.get(f"{root}byteorder")
        if order and _content(path, archive, order, _LONGEST_WORD) != b"little":
            raise UserError(f"{path}: its numbers are big-endian; {_rewrite(path)}")
        pickled = _content(path, archive, entries[f"{root}data.pkl"], _LONGEST_PICKLE)
        tensors = {
            name: (tensor, _entry(path, name, tensor, entries, root))
            for name, tensor in _unpickled(path, pickled).items()
        }
        starts = _starts(path, {entry.filename: entry for _, entry in tensors.values()}.values())
        return {
            name: _stored(path, name, tensor, entry, starts[entry.filename])
            for name, (tensor, entry) in tensors.items()
        }


@contextlib.contextmanager
def _explained(path: epath.Path) -> Iterator[None]:
    """Turn the errors that zipfile raises for damaged files into a UserError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, OverflowError,
            ValueError, struct.error) as error:  # fmt: skip
        raise UserError(
            f"{path}: not a complete zip file, the format of PyTorch since 1.6 ({error}); if it is "
            f"truncated or damaged, copy it again; if it is older, {_rewrite(path)}"
        ) from None


def _is_pickle(name: str) -> bool:
    return name.count("/") <= 1 and name.rpartition("/")[2] == "data.pkl"


def _content(
    path: epath.Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int
) -> bytes:
    _refuse_packed(path, entry)
    if entry.file_size > most:
        raise UserError(
            f"{path}: {entry.filename} has {entry.file_size} bytes, expected at most {most}; "
            "copy it again"
        )
    return archive.read(entry)


def _refuse_packed(path: epath.Path, entry: zipfile.ZipInfo) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise UserError(
            f"{path}: {entry.filename} is compressed or encrypted, which PyTorch never does; "
            f"{_rewrite(path)}"
        )


def _unpickled(path: epath.Path, content: bytes) -> dict[str, PickledTensor]:
    try:
        return torch_pickle.read(content)
    except torch_pickle.RefusedPickle as error:
        raise UserError(
            f"{path}: its pickle asks for {error}, which tensors do not need, so none of it was "
            f"run; where you trust the file, load it with torch.load(…, weights_only=False) and "
            f"{_TENSORS}{_back(path)}"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path}: its pickle cannot be read: {error}; if it holds more than tensors, "
            f"{_TENSORS}{_back(path)}; if it is damaged, copy it again"
        ) from None


def _entry(
    path: epath.Path,
    name: str,
    tensor: PickledTensor,
    entries: Mapping[str, zipfile.ZipInfo],
    root: str,
) -> zipfile.ZipInfo:
    """Return the entry that holds a tensor, whose bytes must be there as plain rows."""
    entry = entries.get(f"{root}data/{tensor.storage.key}")
    if entry is None:
        raise UserError(f"{path}: the bytes of {name} are missing; copy it again")
    if tensor.strides != _row_major(tensor.shape):
        raise UserError(
            f"{path}: {name} of shape {list(tensor.shape)} is stored with strides "
            f"{list(tensor.strides)}, expected {list(_row_major(tensor.shape))}; {_rewrite(path)}"
        )
    _refuse_packed(path, entry)
    return entry


def _stored(
    path: epath.Path, name: str, tensor: PickledTensor, entry: zipfile.ZipInfo, start: int
) -> StoredTensor:
    """Return the tensor with the position of its bytes in the file."""
    dtype = tensor.storage.dtype
    if dtype not in DTYPES:
        return StoredTensor(path, name, tensor.shape, dtype, start)
    before = tensor.offset * DTYPES[dtype].itemsize
    stored = StoredTensor(path, name, tensor.shape, dtype, start + before)
    if stored.nbytes + before > entry.file_size:
        raise UserError(
            f"{path}: {name} of shape {list(tensor.shape)} in {dtype} needs {stored.nbytes} bytes "
            f"from byte {before} of its entry, which has {entry.file_size}; copy it again"
        )
    return stored


def _starts(path: epath.Path, entries: Collection[zipfile.ZipInfo]) -> dict[str, int]:
    """Return where the bytes of each entry begin, by its name.

    The entry's own header and the next record must frame them.
    """
    headers = ranges.read_many(path, [
        (entry.header_offset, entry.header_offset + _LOCAL_HEADER + len(_raw_name(entry)))
        for entry in entries
    ])  # fmt: skip
    starts, size = {}, ranges.size(path)
    for entry, header in zip(entries, headers, strict=True):
        names, extras = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        if header[:4] != _RECORDS[0] or header[_LOCAL_HEADER:] != _raw_name(entry):
            raise _unframed(path, entry)
        starts[entry.filename] = entry.header_offset + _LOCAL_HEADER + names + extras
        end = starts[entry.filename] + entry.file_size
        if end > size:
            raise UserError(
                f"{path}: is truncated: {entry.filename} ends at byte {end}, the file at {size}; "
                "copy it again"
            )
    ends = [starts[entry.filename] + entry.file_size for entry in entries]
    following = ranges.read_many(path, [(end, end + len(_RECORDS[0])) for end in ends])
    for entry, record in zip(entries, following, strict=True):
        if record not in _RECORDS:
            raise _unframed(path, entry)
    return starts


def _raw_name(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")


def _unframed(path: epath.Path, entry: zipfile.ZipInfo) -> UserError:
    return UserError(
        f"{path}: is damaged: {entry.filename} is not framed by its own header and the next "
        "record; copy it again"
    )


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
