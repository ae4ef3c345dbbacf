"""A tensor in a file: known by its header, read when it is wanted, and only the part wanted."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from teacherlm_jax.errors import UserError

_BLOCK = 64 << 20  # bytes read at a time

DTYPES = {name: jnp.dtype(name) for name in ("float32", "float16", "bfloat16")}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor whose bytes lie in one piece of a file, the last axis fastest, little-endian.

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

        It is read some rows at a time, and not mapped: beside the part itself, a process holds a
        block of the file. Raises UserError when the file ends within the part: it has changed
        since its header was read.
        """
        cuts = index or tuple(slice(None) for _ in self.shape)
        bounds = [cut.indices(size)[:2] for cut, size in zip(cuts, self.shape, strict=True)]
        part = np.empty([b - a for a, b in bounds], dtype or DTYPES[self.dtype])
        if not part.size:
            return part
        (start, stop), columns = bounds[0], tuple(slice(*pair) for pair in bounds[1:])
        step = max(1, _BLOCK * self.shape[0] // self.nbytes)
        for first in range(start, stop, step):
            rows = self._rows(first, min(first + step, stop))
            part[first - start : first - start + len(rows)] = rows[:, *columns]
        return part

    def _rows(self, start: int, stop: int) -> np.ndarray:
        dtype = DTYPES[self.dtype]
        count, before = ((math.prod((n, *self.shape[1:]))) for n in (stop - start, start))
        found = np.fromfile(self.file, dtype, count, offset=self.offset + before * dtype.itemsize)
        if found.size != count:
            raise UserError(
                f"{self.file}: ends within {self.name}; it was whole before: copy it again"
            )
        return found.reshape(stop - start, *self.shape[1:])
