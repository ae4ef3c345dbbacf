"""Functions that write the same rows to files of every type, and read them."""

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.sources import raw_rows

ROWS = [
    {"question": f"What is {number}?", "answer": number, "choices": ["a", "b"], "notes": {"x": "y"}}
    for number in range(5)
]

KINDS = (  # a file of each type
    *("rows.jsonl", "rows.json", "rows.jsonl.gz", "rows.jsonl.zst", "rows.jsonl.xz"),
    *("rows.jsonl.bz2", "rows.parquet", "rows.arrow"),
)


def as_lines(some):
    return "".join(json.dumps(row) + "\n" for row in some).encode()


def write_zst(path, *parts):
    """Write a file with one zstd frame for each part."""
    with path.open("wb") as file:
        for part in parts:
            packed = pa.BufferOutputStream()
            with pa.CompressedOutputStream(packed, "zstd") as stream:
                stream.write(part)
            file.write(packed.getvalue())


def write_arrow(path, some, rows_per_batch=2):
    table = pa.Table.from_pylist(some)
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=rows_per_batch)


def write(path, some=ROWS):
    """Write rows to a file of the type that its name shows."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(as_lines(some)))
    elif path.suffix == ".zst":
        write_zst(path, as_lines(some))
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(as_lines(some)))
    elif path.suffix == ".bz2":
        path.write_bytes(bz2.compress(as_lines(some)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(some), path, row_group_size=2)
    elif path.suffix == ".arrow":
        write_arrow(path, some)
    else:
        path.write_bytes(as_lines(some))


def read(folder, path, **settings):
    config = SourceConfig("set", path, **settings)
    return list(raw_rows.open_rows(config, str(folder)).read())


def values(folder, path, **settings):
    return [row for _, row in read(folder, path, **settings)]
