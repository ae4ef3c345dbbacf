"""Advice in error messages about sources, which works when it is followed."""

import dataclasses
import re
import shutil
import subprocess

import pytest
import zstandard

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import muffin, p3, reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

from .row_files import as_lines, write
from .test_saved_datasets import write_dataset

ROW = {"question": "Is red a color?", "answer": "yes"}
CHOICE = {"question": "Is red a color?", "choices": ["no", "yes"], "answer": "B"}
PLAIN = ColumnsConfig()
LONG_WINDOW = zstandard.ZstdDecompressor(max_window_size=1 << 31)
CHOICES = ColumnsConfig(options=("choices",))


def samples(config, root):
    return list(reading.read_samples(config, str(root), RefusedRows(None)))


def refusal(config, root):
    with pytest.raises(UserError) as raised:
        samples(config, root)
    return str(raised.value)


def source(path, columns=PLAIN, **settings):
    return SourceConfig("mine", path, "columns", columns=columns, **settings)


def write_all(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write(folder / name, [ROW])


@pytest.mark.parametrize("root", ["", "data", "absolute"])
@pytest.mark.parametrize("names", [("a.jsonl", "b.jsonl"), ("train-1.jsonl", "train-2.jsonl", "n")])
def test_the_paths_suggested_for_a_folder_of_several_datasets_can_be_read(
    tmp_path, monkeypatch, root, names
):
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path / "data" / "set", *names)
    root = str(tmp_path / "data") if root == "absolute" else root
    config = source("set" if root else "data/set")
    paths = re.search(r"set the path to (\S+)(?: or (\S+))?$", refusal(config, root)).groups()
    for path in filter(None, paths):
        assert samples(dataclasses.replace(config, path=path), root)


@pytest.mark.parametrize("root", ["", "data"])
def test_the_path_suggested_for_a_folder_of_saved_datasets_can_be_read(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    for version in ("1.0.0", "2.0.0"):
        write_dataset(tmp_path / "data" / "set" / version, [[ROW]])
    config = source("set" if root else "data/set")
    path = re.search(r"set the path to (\S+) or ", refusal(config, root))[1]
    assert samples(dataclasses.replace(config, path=path), root)


def test_the_split_suggested_for_a_folder_can_be_read(tmp_path):
    write_dataset(tmp_path / "set", [[ROW]], split="test")
    config = source("set")
    split = re.search(r"set split='(\w+)'", refusal(config, tmp_path))[1]
    assert samples(dataclasses.replace(config, split=split), tmp_path)


# Files, wrong settings of the source, the advice of the message, and settings that follow it.
SETTINGS = {
    "types": (["a.jsonl", "b.parquet"], {"path": "*"}, "files of one type", {"path": "*.jsonl"}),
    "stars": (["a/b.jsonl"], {"path": "**/*.jsonl"}, "write one \\*", {"path": "*/*.jsonl"}),
    "header": (["a.jsonl"], {"header": ("question",)}, "leave header empty", {"header": ()}),
    "split": (["a.jsonl"], {"split": "test"}, "remove the key split", {"split": "train"}),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_source_can_be_read_with_the_settings_that_a_message_suggests(tmp_path, case):
    names, wrong, advice, right = SETTINGS[case]
    for name in names:
        write_all((tmp_path / name).parent, (tmp_path / name).name)
    config = dataclasses.replace(source("a.jsonl"), **wrong)
    assert re.search(advice, refusal(config, tmp_path))
    assert samples(dataclasses.replace(config, **right), tmp_path)


def test_a_file_can_be_read_after_renaming_it_to_the_suggested_ending(tmp_path):
    write(tmp_path / "rows.jsonl", [ROW])
    (tmp_path / "rows.jsonl").rename(tmp_path / "rows")
    ending = re.search(r"so that it ends in (\.\w+)", refusal(source("rows"), tmp_path))[1]
    (tmp_path / "rows").rename(tmp_path / f"rows{ending}")
    assert samples(source(f"rows{ending}"), tmp_path)


def test_a_zstd_file_with_a_long_window_can_be_read_after_decompressing_it(tmp_path):
    """Its frame header, written by hand, declares a window of 1 GiB around one raw block."""
    content = as_lines([ROW])
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([20 << 3])
    block = (1 | len(content) << 3).to_bytes(3, "little")
    (tmp_path / "a.jsonl.zst").write_bytes(header + block + content)
    command = re.search(r"`(zstd -d --long=\d+)`", refusal(source("a.jsonl.zst"), tmp_path))[1]
    if shutil.which("zstd"):
        subprocess.run([*command.split(), "a.jsonl.zst"], cwd=tmp_path, check=True)
    else:
        with zstandard.open(tmp_path / "a.jsonl.zst", dctx=LONG_WINDOW) as file:
            (tmp_path / "a.jsonl").write_bytes(file.read())
    assert samples(source("a.jsonl"), tmp_path)


# Columns, a row that is refused with them, the advice of the message, and columns that follow it.
COLUMNS = {
    "answer_is": (
        CHOICES,
        {**CHOICE, "choices": None, "answer": "B"},
        "set columns.answer_is to 'text' if it is the answer itself",
        {"answer_is": "text"},
    ),
    "ambiguous": (
        CHOICES,
        {**CHOICE, "choices": ["1", "0"], "answer": "1"},
        "set columns.answer_is to the one that is meant",
        {"answer_is": "text"},
    ),
    "marks": (
        dataclasses.replace(CHOICES, strip_marks=True),
        CHOICE,
        "set columns.strip_marks to False",
        {"strip_marks": False},
    ),
    "absent": (
        dataclasses.replace(CHOICES, question="text"),
        CHOICE,
        "the columns are question, choices, answer",
        {"question": "question"},
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_row_can_be_read_with_the_columns_that_a_message_suggests(tmp_path, case):
    columns, row, advice, right = COLUMNS[case]
    files.write_jsonl(tmp_path / "a.jsonl", [row])
    config = source("a.jsonl", columns)
    assert advice in refusal(config, tmp_path)
    config = dataclasses.replace(config, columns=dataclasses.replace(columns, **right))
    assert samples(config, tmp_path)


# What is asked for, with a name that is unknown and then with each that the message lists.
LISTED = {
    "Muffin's dataset": lambda name: muffin.sources(datasets=(name,)),
    "P3's dataset": p3.tasks,
    "P3's layout": lambda name: p3.sources(datasets=("glue_qqp",), layout=name),
}


@pytest.mark.parametrize("kind", LISTED)
def test_every_name_of_a_collection_that_a_message_lists_is_known(kind):
    with pytest.raises(UserError) as raised:
        LISTED[kind]("none")
    names = str(raised.value).partition("; expected one of ")[2].split(", ")
    assert all(LISTED[kind](name) for name in names)
