"""Samples in a scratch file, so that the files of a source are read only once."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from teacherlm_jax.data.sample import Sample, from_row, to_row
from teacherlm_jax.sources.raw_rows import RowLocation

_BUFFER = 1 << 20  # bytes of uncompressed JSON


class SampleSpool:
    """Samples on disk in the order in which they were added, each with the location of its row.

    The file holds one JSON value per line, compressed with zstd. It is written once, from start to
    end; after that it can be read any number of times. Memory holds one buffer, never the samples.
    """

    def __init__(self, path: Path):
        """Name the file; it is created when the first sample is added."""
        self.path = path
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def add(self, location: RowLocation, sample: Sample) -> None:
        """Append one sample."""
        row = json.dumps(to_row(sample), ensure_ascii=False)
        self._hash.update(row.encode() + b"\n")
        line = f"[{json.dumps(location.file)}, {location.line}, {row}]\n"
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            compressed = pa.output_stream(str(self.path), compression="zstd")
            self._file = io.BufferedWriter(cast(io.RawIOBase, compressed), _BUFFER)
        self._file.write(line.encode())

    def close(self) -> str:
        """Finish the file; return `sha256:…` of the samples, which does not depend on paths."""
        if self._file is not None:
            self._file.close()
            self._file = None
        return f"sha256:{self._hash.hexdigest()}"

    def read(self) -> Iterator[tuple[RowLocation, Sample]]:
        """Yield every sample with the location of its row, in the order of `add`."""
        self.close()
        if not self.path.exists():  # nothing was added
            return
        with pa.input_stream(str(self.path), compression="zstd") as compressed:
            for line in io.BufferedReader(compressed, _BUFFER):
                file, number, row = json.loads(line)
                yield RowLocation(file, number), from_row(row)
