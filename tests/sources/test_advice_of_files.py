"""Advice in error messages about files of rows, which works when it is followed."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import arrow, reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

from .row_files import as_lines, write, write_zst
from .test_saved_datasets import write_dataset

ROWS = [{"question": "Is it red?", "answer": "yes"}, {"question": "Is it blue?", "answer": "no"}]
CONFIG = SourceConfig("mine", "", "columns", columns=ColumnsConfig())


def samples(folder, path, **settings):
    config = dataclasses.replace(CONFIG, path=path, **settings)
    return list(reading.read_samples(config, str(folder), RefusedRows(None)))


def refusal(folder, path, **settings):
    with pytest.raises(UserError) as raised:
        samples(folder, path, **settings)
    return str(raised.value)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def swap_bytes(path):
    path.write_bytes(path.read_bytes()[::-1])


def swap_middle(path):
    """Damage the schema and keep the end, by which a complete stream is recognized."""
    content = path.read_bytes()
    path.write_bytes(content[:8] + content[8:-8][::-1] + content[-8:])


DAMAGES = {
    "gz": ("a.jsonl.gz", truncate, "damaged or truncated after line"),
    "empty gz": ("a.jsonl.gz", empty, "damaged or truncated after line 0: the file is empty"),
    "zst": ("a.jsonl.zst", swap_bytes, "damaged or truncated after line 0"),
    "xz": ("a.jsonl.xz", truncate, "damaged or truncated after line"),
    "bz2": ("a.jsonl.bz2", truncate, "damaged or truncated after line"),
    "parquet": ("a.parquet", truncate, "damaged, or not of the type its name says"),
    "arrow": ("a.arrow", truncate, "truncated, or not an Arrow stream as `datasets` writes them"),
    "other arrow": ("a.arrow", swap_middle, "damaged, or not of the type its name says"),
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_file_can_be_read_after_it_is_copied_again(tmp_path, fault):
    name, damage, words = DAMAGES[fault]
    write(tmp_path / name, ROWS)
    shutil.copy(tmp_path / name, tmp_path / "backup")
    damage(tmp_path / name)
    message = refusal(tmp_path, name)
    assert words in message and message.endswith("; copy it again"), message
    shutil.copy(tmp_path / "backup", tmp_path / name)
    assert len(samples(tmp_path, name)) == 2


def test_a_zstd_file_with_a_long_window_can_be_read_after_it_is_compressed_without_long(tmp_path):
    """Its frame header, written by hand, declares a window of 1 GiB around one raw block."""
    content, path = as_lines(ROWS), tmp_path / "a.jsonl.zst"
    block = (1 | len(content) << 3).to_bytes(3, "little")
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00" + bytes([20 << 3]) + block + content)
    assert "or compress it again without --long" in refusal(tmp_path, "a.jsonl.zst")
    write_zst(path, content)
    assert len(samples(tmp_path, "a.jsonl.zst")) == 2


def test_a_json_list_can_be_read_after_the_command_that_is_named(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps(ROWS, indent=1))
    query = re.search(r"as `jq -c '(.*)'` writes them$", refusal(tmp_path, "list.json"))[1]
    assert query == ".[]"
    if jq := shutil.which("jq"):
        command = [jq, "-c", query, str(tmp_path / "list.json")]
        (tmp_path / "rows.json").write_bytes(subprocess.check_output(command))
    else:
        (tmp_path / "rows.json").write_bytes(as_lines(ROWS))
    assert len(samples(tmp_path, "rows.json")) == 2


def as_utf8(path):
    path.write_bytes(path.read_bytes().decode("utf-16").encode())


def rename_column(path):
    path.write_text(path.read_text().replace("answer,answer", "answer,other", 1))


def correct_header(path):
    path.write_text(path.read_text().replace('"question"s', '"question"', 1))


def enclose(path):
    path.write_text(path.read_text().replace('"tis the season', '"""tis the season"'))


def convert(path):
    rows = [{"question": '"tis the season', "answer": "b"}, {"question": "B?", "answer": "c"}]
    path.with_suffix(".jsonl").write_bytes(as_lines(rows))
    path.unlink()


OPEN = b'question,answer\n"tis the season,b\nB?,c\n'
ADVICE = (
    "enclose fields that contain quotes in double quotes and double the quotes inside, or convert"
)

# Content of a file, the advice of its message, what follows it, and the first question then.
HEADERS = {
    "utf-16": ("question,answer\nA?,b\n".encode("utf-16"), "save the file as UTF-8", as_utf8, "A?"),
    "twice": (b"question,answer,answer\nA?,b,c\n", "rename one of them", rename_column, "A?"),
    "header": (b'"question"s,answer\nA?,b\n', "correct the first line", correct_header, "A?"),
    "quote": (OPEN, ADVICE, enclose, '"tis the season'),
    "quote in jsonl": (OPEN, ADVICE, convert, '"tis the season'),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_csv_file_can_be_read_after_it_is_corrected_as_its_message_says(tmp_path, fault):
    content, advice, correct, question = HEADERS[fault]
    (tmp_path / "a.csv").write_bytes(content)
    assert f"; {advice}" in refusal(tmp_path, "a.csv")
    correct(tmp_path / "a.csv")
    assert samples(tmp_path, "a.*")[0].question == question


SAVED = {
    "order": (
        {"_indices_data_files": [{"filename": "indices.arrow"}]},
        "load it and save it again with a newer version",
    ),
    "state": ({"_data_files": None}, "save the dataset again"),
}


@pytest.mark.parametrize("fault", SAVED)
def test_a_saved_dataset_can_be_read_after_it_is_saved_again(tmp_path, fault):
    state, advice = SAVED[fault]
    write_dataset(tmp_path / "set", [ROWS], **state)
    assert refusal(tmp_path, "set").endswith(f"; {advice}")
    shutil.rmtree(tmp_path / "set")
    write_dataset(tmp_path / "set", [ROWS])  # as newer versions of `datasets` do
    assert len(samples(tmp_path, "set")) == 2


def test_the_splits_that_a_message_names_can_be_read(tmp_path):
    for split in ("test", "dev"):
        write_dataset(tmp_path / "set" / split, [ROWS], split=split)
    files.write_json(tmp_path / "set" / "dataset_dict.json", {"splits": ["test", "dev"]})
    named = re.search(r"; set split to one of (.*)$", refusal(tmp_path, "set"))[1].split(", ")
    assert [len(samples(tmp_path, "set", split=split)) for split in named] == [2, 2]


@pytest.mark.parametrize("way", ["copy it again", "write it in smaller blocks"])
def test_a_file_whose_block_exceeds_the_memory_can_be_read_as_its_message_says(
    tmp_path, monkeypatch, way
):
    """Memory for more than one row at a time is refused."""
    opened = pq.ParquetFile

    def limited(*arguments, **settings):
        file = opened(*arguments, **settings)
        if file.metadata.num_row_groups and file.metadata.row_group(0).num_rows > 1:
            raise MemoryError
        return file

    monkeypatch.setattr(arrow.pq, "ParquetFile", limited)
    table, path = pa.Table.from_pylist(ROWS), tmp_path / "a.parquet"
    pq.write_table(table, tmp_path / "backup", row_group_size=1)
    pq.write_table(table, path)
    assert refusal(tmp_path, "a.parquet").endswith("; copy it again, or write it in smaller blocks")
    if way == "copy it again":
        shutil.copy(tmp_path / "backup", path)
    else:
        pq.write_table(table, path, row_group_size=1)
    assert len(samples(tmp_path, "a.parquet")) == 2


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl"])
def test_the_columns_that_a_message_lists_can_be_read(tmp_path, name):
    write(tmp_path / name, ROWS)
    wrong = dataclasses.replace(CONFIG.columns, question="q")
    message = refusal(tmp_path, name, columns=wrong)
    listed = re.search(r"; the columns are ([\w, ]+)", message)[1].split(", ")
    assert set(listed) == {"question", "answer"}
    for column in listed:
        named = dataclasses.replace(CONFIG.columns, question=column)
        assert len(samples(tmp_path, name, columns=named)) == 2


def test_a_column_that_a_message_lists_can_be_read_as_the_explanation(tmp_path):
    write(tmp_path / "a.jsonl", [row | {"reason": "It is so."} for row in ROWS])
    wrong = dataclasses.replace(CONFIG.columns, cot="why")
    message = refusal(tmp_path, "a.jsonl", columns=wrong)
    column = re.search(r"no row has a column why; the columns are .*, (\w+)$", message)[1]
    named = dataclasses.replace(CONFIG.columns, cot=column)
    assert samples(tmp_path, "a.jsonl", columns=named)[0].explanations["cot"]


def test_a_source_without_a_vocabulary_can_be_read_without_max_tokens(tmp_path):
    write(tmp_path / "a.jsonl", ROWS)
    message = refusal(tmp_path, "a.jsonl", max_tokens=9)
    key, value = re.search(r"; set (\w+)=(\d+)$", message).groups()
    assert len(samples(tmp_path, "a.jsonl", **{key: int(value)})) == 2


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_that_need_tensorflow_can_be_read_after_converting_them(tmp_path, ending, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "teacherlm_jax.tasks.tfds_rows", raising=False)
    (tmp_path / "a.tfrecord").touch()
    assert refusal(tmp_path, "a.tfrecord").endswith(
        "; install it, or convert the rows to jsonl or parquet"
    )
    write(tmp_path / f"a.{ending}", ROWS)
    assert len(samples(tmp_path, f"a.{ending}")) == 2


def test_the_formats_that_a_message_names_can_be_read(tmp_path):
    write(tmp_path / "a.jsonl", [to_row(sample) for sample in synthetic.generate(2, seed=0)])
    known = re.search(r"; known: (.*)$", refusal(tmp_path, "a.jsonl", format="mine"))[1]
    assert "sample" in known.split(", ")
    assert len(samples(tmp_path, "a.jsonl", format="sample")) == 2
