"""Tensors in files: described by a header, and read lazily and in parts."""

import dataclasses
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Shaped

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import ranges

BLOCK_BYTES = 64 << 20  # of a tensor read, compared or written at a time
_POINTER = b"version https://git-lfs"

# Bounds that no real tensor exceeds; without them a damaged header could produce huge messages.
MOST_AXES, MOST_BYTES = 64, 2**63

DTYPES = {name: jnp.dtype(name) for name in ("float32", "float16", "bfloat16")}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor that is contiguous in a file, in row-major order and little-endian.

    Attributes:
        file: the file.
        name: the tensor's name in the file.
        shape: its shape.
        dtype: a key of DTYPES, or the file's own name of a dtype that cannot be read.
        offset: position of its first byte in the file.
    """

    file: epath.Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def nbytes(self) -> int:
        """Size in bytes; the dtype must be one of DTYPES."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def read(
        self, index: tuple[slice, ...] | None = None, dtype: np.dtype | None = None
    ) -> Shaped[np.ndarray, "..."]:
        """Return the part `index` (slices without steps; None: all) in `dtype` or the stored dtype.

        See `read_columns`.
        """
        rows, *columns = index or tuple(slice(None) for _ in self.shape)
        return self.read_columns(rows, [tuple(columns)], dtype)[0]

    def read_columns(
        self, rows: slice, parts: Sequence[tuple[slice, ...]], dtype: np.dtype | None = None
    ) -> list[Shaped[np.ndarray, "..."]]:
        """Return, for each of `parts` (slices of all axes but the first), that part of `rows`.

        The rows are read once, in blocks (one request each for a file in a bucket) and without
        memory mapping: beside the parts themselves, a process holds one block. Raises UserError
        when the file ends early, which means that it changed since its header was read.
        """
        start, stop = rows.indices(self.shape[0])[:2]
        arrays = [
            np.empty((stop - start, *self._sizes(part)), dtype or DTYPES[self.dtype])
            for part in parts
        ]
        if not any(cut.size for cut in arrays):
            return arrays
        step = max(1, BLOCK_BYTES * self.shape[0] // self.nbytes)
        for first in range(start, stop, step):
            block = self._rows(first, min(first + step, stop))
            for cut, part in zip(arrays, parts, strict=True):
                cut[first - start : first - start + len(block)] = block[:, *part]
        return arrays

    def _sizes(self, part: tuple[slice, ...]) -> list[int]:
        bounds = (cut.indices(size) for cut, size in zip(part, self.shape[1:], strict=True))
        return [stop - start for start, stop, _ in bounds]

    def _rows(self, start: int, stop: int) -> Shaped[np.ndarray, "rows ..."]:
        dtype = DTYPES[self.dtype]
        count, before = ((math.prod((n, *self.shape[1:]))) for n in (stop - start, start))
        first = self.offset + before * dtype.itemsize
        content = ranges.read(self.file, first, first + count * dtype.itemsize)
        if len(content) != count * dtype.itemsize:
            raise UserError(
                f"{self.file}: ends within {self.name} and was truncated meanwhile; copy it again"
            )
        return np.frombuffer(content, dtype).reshape(stop - start, *self.shape[1:])


def refuse_pointer(path: epath.Path, start: bytes) -> None:
    """Raise UserError for a Git LFS pointer, which is there until the real file is fetched.

    `start`: the first bytes of the file.
    """
    if start.startswith(_POINTER):
        raise UserError(
            f"{path}: is a Git LFS pointer and not the file itself; fetch the file with "
            "`git lfs pull` in that folder"
        )
