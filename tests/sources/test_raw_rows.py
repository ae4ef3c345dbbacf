"""Rows of every type of file."""

import contextlib
import gzip
import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import arrow, raw_rows
from teacherlm_jax.storage import files

from .row_files import KINDS, ROWS, as_lines, read, values, write, write_zst


@pytest.mark.parametrize("name", KINDS)
def test_every_type_of_file_gives_the_same_rows_with_their_locations(tmp_path, name):
    path = tmp_path / name
    write(path)
    expected = [
        (raw_rows.RowLocation(str(path), number), row) for number, row in enumerate(ROWS, start=1)
    ]
    assert read(tmp_path, name) == expected


def test_files_with_several_compressed_streams_are_read_to_the_end(tmp_path):
    halves = as_lines(ROWS[:2]), as_lines(ROWS[2:])
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(map(gzip.compress, halves)))
    write_zst(tmp_path / "b.jsonl.zst", *halves)
    assert values(tmp_path, "a.jsonl.gz") == values(tmp_path, "b.jsonl.zst") == ROWS


@pytest.mark.parametrize("name", KINDS)
def test_shards_are_read_in_the_order_of_their_names(tmp_path, name):
    base, _, ending = name.partition(".")
    for number, shard in enumerate((ROWS[:2], ROWS[2:])):
        write(tmp_path / f"{base}-{number:05}-of-00002.{ending}", shard)
    assert values(tmp_path, f"{base}-*-of-00002.{ending}") == ROWS
    assert [location.line for location, _ in read(tmp_path, f"*.{ending}")] == [1, 2, 1, 2, 3]


@pytest.mark.parametrize("name", KINDS[2:])
def test_a_truncated_file_is_named(tmp_path, name):
    path = tmp_path / name
    write(path, [row | {"id": os.urandom(999).hex()} for row in ROWS])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=rf"{path}: (damaged|truncated)"):
        read(tmp_path, name)


@pytest.mark.parametrize("name", KINDS[2:])
def test_an_empty_file_is_refused_and_a_file_without_rows_is_read(tmp_path, name):
    path = tmp_path / name
    table = pa.table({"question": pa.array([], pa.string())})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    else:
        write(path, [])
    assert read(tmp_path, name) == []
    path.write_bytes(b"")
    with pytest.raises(UserError, match=rf"{path}: (damaged|truncated)"):
        read(tmp_path, name)


def test_the_line_after_which_a_file_is_damaged_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(as_lines(ROWS)) + gzip.compress(as_lines(ROWS))[:-8])
    with pytest.raises(UserError, match=rf"{path}: damaged or truncated after line 10"):
        read(tmp_path, path.name)


def test_an_arrow_stream_truncated_between_two_batches_is_refused(tmp_path):
    path = tmp_path / "a.arrow"
    write(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        assert stream.read_all().num_rows == 5  # Arrow accepts it as complete
    with pytest.raises(UserError, match=rf"{path}: truncated"):
        read(tmp_path, path.name)


@pytest.mark.parametrize("offset", [-(2**30), 2**30])
def test_an_arrow_stream_with_offsets_outside_of_it_is_refused(tmp_path, offset):
    """Converting such texts to Python objects would crash the process."""
    path = tmp_path / "a.arrow"
    write(path, [{"question": "a" * 77}, {"question": "b" * 1000}])
    whole, damaged = (np.array([0, end, 1077], np.int32).tobytes() for end in (77, offset))
    assert path.read_bytes().count(whole) == 1
    path.write_bytes(path.read_bytes().replace(whole, damaged))
    with pytest.raises(UserError, match=rf"{path}: damaged"):
        read(tmp_path, path.name)


def test_a_parquet_file_with_one_row_group_is_not_held_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    some = [{"question": os.urandom(1000).hex()} for _ in range(4000)]
    pq.write_table(pa.Table.from_pylist(some), path, compression="none", use_dictionary=False)
    consumed = count_reading(monkeypatch)
    rows = raw_rows.open_rows(SourceConfig("set", path.name), str(tmp_path)).read()
    next(rows)
    assert 1000 < sum(consumed) < path.stat().st_size / 2
    assert [row for _, row in rows] == some[1:]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.arrow"])
def test_a_file_is_not_held_in_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(arrow, "_BATCH", 2)
    write(tmp_path / name, [row | {"id": os.urandom(100_000).hex()} for row in ROWS * 6])
    consumed = count_reading(monkeypatch)
    next(raw_rows.open_rows(SourceConfig("set", name), str(tmp_path)).read())
    assert 100_000 < sum(consumed) < (tmp_path / name).stat().st_size / 3


def count_reading(monkeypatch):
    """Return a list to which the number of bytes of every read is appended."""
    opened, consumed = files.opened, []

    @contextlib.contextmanager
    def counting(path):
        class Counting(files._Bytes):
            def readinto(self, buffer):
                consumed.append(super().readinto(buffer))
                return consumed[-1]

        with opened(path) as file:
            yield Counting(file)

    monkeypatch.setattr(files, "opened", counting)
    return consumed


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.json-00000-of-00001"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_that_is_a_json_list_is_refused(tmp_path, name, indent):
    text = json.dumps(ROWS, indent=indent).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    with pytest.raises(UserError, match=rf"{name}: a JSON list; expected one object per line"):
        read(tmp_path, name)


def test_a_line_with_a_list_is_a_malformed_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"[1]\n" + as_lines(ROWS))
    (tmp_path / "b.json").write_bytes(as_lines(ROWS) + b"[1]\n")
    for name in ("a.jsonl", "b.json"):
        rows = values(tmp_path, name)
        assert [row.reason for row in rows if row not in ROWS] == ["not a JSON object"]


def test_the_error_for_a_file_that_needs_tensorflow_names_the_missing_package(
    tmp_path, monkeypatch
):
    (tmp_path / "a.tfrecord").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "teacherlm_jax.tasks.tfds_rows", raising=False)
    with pytest.raises(UserError, match=r"a.tfrecord requires the package tensorflow, .* parquet"):
        read(tmp_path, "a.tfrecord")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.arrow"])
def test_setting_a_split_for_files_without_splits_is_refused(tmp_path, name):
    write(tmp_path / name)
    with pytest.raises(UserError, match=rf"split='test', but .*{name} has no splits"):
        read(tmp_path, name, split="test")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_only_the_columns_of_the_config_are_read_and_none_may_be_missing(tmp_path, name):
    write(tmp_path / name)
    named = ColumnsConfig(options=("choices",), subject="notes.x")
    assert values(tmp_path, name, format="columns", columns=named) == ROWS
    plain = values(tmp_path, name, format="columns", columns=ColumnsConfig())
    assert plain == [{"question": row["question"], "answer": row["answer"]} for row in ROWS]
    with pytest.raises(
        UserError, match=rf"{name}: no column 'why'; the columns are question, answer, choices"
    ):
        read(tmp_path, name, format="columns", columns=ColumnsConfig(cot="why.not"))
