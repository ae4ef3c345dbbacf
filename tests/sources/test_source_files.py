"""The files that a source's path names, and the reader that fits them."""

import pytest

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import source_files
from teacherlm_jax.storage.paths import StoragePath

from .row_files import KINDS, ROWS, as_lines, read, values, write


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.jsonl-00000-of-00002", "jsonl"),
        ("c4.json-00000-of-00512.gz", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("train-00000-of-00001.parquet", "parquet"),
        ("cache-1a2b.arrow", "datasets"),
        ("train.tfrecord-00000-of-00001", "tfrecord"),
        ("set-train.tfrecord.gz", "tfrecord"),
    ],
)
def test_the_reader_depends_on_the_name_of_the_file(tmp_path, name, reader):
    assert (
        source_files.reader_of(SourceConfig("set", name), [StoragePath(tmp_path / name)]) == reader
    )


def test_a_reader_can_be_set(tmp_path):
    (tmp_path / "rows.txt").write_bytes(as_lines(ROWS))
    with pytest.raises(
        UserError,
        match=r"rows.txt does not show its type; rename the file so that it ends in .jsonl",
    ):
        read(tmp_path, "rows.txt")
    assert values(tmp_path, "rows.txt", reader="jsonl") == ROWS


def test_the_error_of_a_wrong_reader_names_the_file(tmp_path):
    (tmp_path / "rows.txt").write_bytes(as_lines(ROWS))
    for reader in ("parquet", "datasets"):
        with pytest.raises(UserError, match=r"rows.txt: "):
            read(tmp_path, "rows.txt", reader=reader)


def test_files_of_several_types_are_refused(tmp_path):
    write(tmp_path / "a.jsonl")
    write(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"a.jsonl are of several types \(jsonl, parquet\)"):
        read(tmp_path, "*")


@pytest.mark.parametrize("name", KINDS)
def test_all_shards_of_a_folder_are_read(tmp_path, name):
    base, _, ending = name.partition(".")
    (tmp_path / "some").mkdir()
    for number, shard in enumerate((ROWS[:2], ROWS[2:])):
        write(tmp_path / "some" / f"{base}-{number:05}-of-00002.{ending}", shard)
    for hidden in ("_SUCCESS", ".gitattributes"):
        (tmp_path / "some" / hidden).write_text("")
    assert values(tmp_path, "some") == ROWS


def test_a_reader_can_be_set_for_a_folder_of_shards(tmp_path):
    (tmp_path / "1.txt").write_bytes(as_lines(ROWS))
    assert values(tmp_path, "", reader="jsonl") == ROWS


@pytest.mark.parametrize(
    ("names", "content", "suggested"),
    [
        (["train-0.jsonl", "train-1.jsonl", "test.jsonl"], "test.jsonl, train-*.jsonl", None),
        (["a.parquet", "README.md"], "README.md, a.parquet", "a.parquet"),
        (["a.jsonl", "a.parquet"], "a.jsonl, a.parquet", None),
        (["1.0.0/features.json", "x.txt"], "1.0.0", "1.0.0"),
        (["1.0.0/features.json", "1.1.0/features.json"], "1.0.0, 1.1.0", None),
        (["x.txt"], "x.txt", ""),
        ([f"{letter}.txt" for letter in "abcde"], "a.txt, b.txt, c.txt, d.txt and others", ""),
        ([], "nothing", ""),
    ],
)
def test_a_folder_of_anything_else_is_refused_with_its_content(tmp_path, names, content, suggested):
    folder = tmp_path / "some"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    expected = content.split(", ") if suggested is None else [suggested] if suggested else []
    given = " or ".join(f"some/{name}" for name in expected) or "files with rows"
    with pytest.raises(UserError) as raised:
        read(tmp_path, "some")
    assert str(raised.value) == (
        f"source 'set': the folder {folder} contains {content}, expected state.json, "
        f"dataset_dict.json, features.json, or only shards of one dataset; set the path to {given}"
    )
