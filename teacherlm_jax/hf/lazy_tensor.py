"""A tensor in a file: known by its header, read when it is wanted, and only the part wanted."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from teacherlm_jax.errors import UserError

BLOCK_BYTES = 64 << 20  # of a tensor read, compared or written at a time
_POINTER = b"version https://git-lfs"

# What no tensor of a real file goes beyond; numbers of any size would not end as messages.
MOST_AXES, MOST_BYTES = 64, 2**63

DTYPES = {name: jnp.dtype(name) for name in ("float32", "float16", "bfloat16")}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor whose bytes lie in one slot of a file, the last axis fastest, little-endian.

    Attributes:
        file: where.
        name: as the file has it.
        shape: of the tensor.
        dtype: a key of DTYPES, or the file's own word for what cannot be read here.
        offset: of its first byte in the file.
    """

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def nbytes(self) -> int:
        """Its size; the dtype must be one of DTYPES."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def read(
        self, index: tuple[slice, ...] | None = None, dtype: np.dtype | None = None
    ) -> np.ndarray:
        """The part `index` (slices without steps), all of it when None, in `dtype` or its own.

        See `read_columns`.
        """
        rows, *columns = index or tuple(slice(None) for _ in self.shape)
        return self.read_columns(rows, [tuple(columns)], dtype)[0]

    def read_columns(
        self, rows: slice, parts: Sequence[tuple[slice, ...]], dtype: np.dtype | None = None
    ) -> list[np.ndarray]:
        """For each of `parts`, slices of all axes but the first, its cut of the rows `rows`.

        The rows are read once, some at a time, and not mapped: beside the cuts themselves, a
        process holds a block of the file. Raises UserError when the file ends within them: it has
        changed since its header was read.
        """
        start, stop = rows.indices(self.shape[0])[:2]
        found = [
            np.empty((stop - start, *self._sizes(part)), dtype or DTYPES[self.dtype])
            for part in parts
        ]
        if not any(cut.size for cut in found):
            return found
        step = max(1, BLOCK_BYTES * self.shape[0] // self.nbytes)
        for first in range(start, stop, step):
            block = self._rows(first, min(first + step, stop))
            for cut, part in zip(found, parts, strict=True):
                cut[first - start : first - start + len(block)] = block[:, *part]
        return found

    def _sizes(self, part: tuple[slice, ...]) -> list[int]:
        bounds = (cut.indices(size) for cut, size in zip(part, self.shape[1:], strict=True))
        return [stop - start for start, stop, _ in bounds]

    def _rows(self, start: int, stop: int) -> np.ndarray:
        dtype = DTYPES[self.dtype]
        count, before = ((math.prod((n, *self.shape[1:]))) for n in (stop - start, start))
        found = np.fromfile(self.file, dtype, count, offset=self.offset + before * dtype.itemsize)
        if found.size != count:
            raise UserError(
                f"{self.file}: ends within {self.name}; it was whole before: copy it again"
            )
        return found.reshape(stop - start, *self.shape[1:])


def refuse_pointer(path: Path) -> None:
    """UserError for a file of Git LFS, which stands where the real one was not fetched."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise UserError(
                f"{path}: only names the file, which Git LFS keeps apart; fetch it with "
                "`git lfs pull` in that folder"
            )
