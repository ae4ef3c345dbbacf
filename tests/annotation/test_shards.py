"""Shards survive interruptions and damage, and refuse rows of other jobs."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.annotation import shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

IDS = tuple("abcdefg")
SHARDS = shards.split_into_shards(IDS, 3)


def _row(id: str) -> dict:
    return {"id": id, "text": f"text of {id} – ünïcode"}


def _open(folder, fault=lambda row: "", ids=SHARDS) -> shards.ShardFolder:
    return shards.ShardFolder(
        folder, ids, fault, logging.getLogger("test"), lambda row: "text" in row
    )


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_ids_are_split_into_shards_in_order_and_the_last_is_shorter():
    assert SHARDS == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert shards.shard_name(1) == "part-00001.jsonl"


@settings(max_examples=30)
@given(st.permutations(IDS), st.lists(st.integers(0, len(IDS)), max_size=3))
def test_any_order_with_any_interruptions_gives_the_same_files(tmp_path_factory, order, stops):
    folder = tmp_path_factory.mktemp("shards")
    written = 0
    for stop in [*stops, len(IDS)]:
        shard_folder = _open(folder)
        for id in order:
            if not shard_folder.has(id) and written < max(stop, written):
                shard_folder.add(_row(id))
                written += 1
        shard_folder.close()
    assert shard_folder.complete
    assert _names(folder) == [shards.shard_name(index) for index in range(3)]
    for index, ids in enumerate(SHARDS):
        assert shard_folder.read(index) == [_row(id) for id in ids]


def test_a_shard_has_its_final_name_only_when_it_is_complete(tmp_path):
    shard_folder = _open(tmp_path)
    assert [shard_folder.add(_row(id)) for id in "cab"] == [False, False, True]
    assert shard_folder.add(_row("e")) is False
    shard_folder.close()
    assert _names(tmp_path) == ["part-00000.jsonl", "part-00001.jsonl.partial"]
    assert [row["id"] for row in shard_folder.read(0)] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["part-00000.jsonl", "part-00000.jsonl.partial"])
@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (lambda lines: [lines[0], b"\x00\x01 {", lines[2]], "b"),  # overwritten in the middle
        (lambda lines: [lines[0], lines[1][:9] + lines[2], b""], "bc"),  # two lines merged
        (lambda lines: [lines[0], lines[1], lines[2][:-5]], "c"),  # cut off by a crash
        (lambda lines: [b"[]", *lines[1:]], "a"),
        (lambda lines: [*lines[:2], b'{"id": "c"}'], "c"),  # JSON without the text
        (lambda lines: [lines[0], lines[0], *lines[1:]], ""),  # a repeated row
    ],
)
def test_damaged_lines_are_generated_again_and_all_others_stay(
    tmp_path, caplog, name, damage, lost
):
    lines = [json.dumps(_row(id)).encode() for id in "abc"]
    (tmp_path / name).write_bytes(b"\n".join(damage(lines)))
    shard_folder = _open(tmp_path)
    assert "".join(id for id in "abc" if not shard_folder.has(id)) == lost
    warnings = [record.getMessage() for record in caplog.records]
    assert [message.startswith(f"{tmp_path / name}: damaged lines: ") for message in warnings] == (
        [True] if lost else []
    )
    shard_folder.close()
    again = _open(tmp_path)  # the damaged lines were removed from disk
    assert len(caplog.records) == bool(lost)
    for id in lost:
        again.add(_row(id))
    assert again.read(0) == [_row(id) for id in "abc"]
    assert _names(tmp_path) == ["part-00000.jsonl"]


def test_a_crash_between_the_last_row_and_the_rename_is_recovered(tmp_path):
    name = shards.shard_name(2)
    (tmp_path / f"{name}.partial").write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path).has("g")
    assert _names(tmp_path) == [name]
    (tmp_path / f"{name}.partial").write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path).has("g")
    assert _names(tmp_path) == [name]


@pytest.mark.parametrize("written", ["abc", "ab"])  # a complete shard, and a partial one
def test_a_row_on_disk_that_belongs_to_another_job_is_refused(tmp_path, written):
    shard_folder = _open(tmp_path)
    for id in written:
        shard_folder.add(_row(id))
    shard_folder.close()
    (name,) = _names(tmp_path)
    with pytest.raises(
        UserError, match=rf"{name}:2: the explanation of 'b' is another's; begin again"
    ):
        _open(tmp_path, lambda row: "is another's; begin again" if row["id"] == "b" else "")
    assert _open(tmp_path).has("b")


def test_adding_a_second_row_for_an_id_raises(tmp_path):
    shard_folder = _open(tmp_path)
    shard_folder.add(_row("a"))
    with pytest.raises(ValueError, match="second row for a"):
        shard_folder.add(_row("a"))
    shard_folder.close()


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("part-00003.jsonl", [], "not a shard of this job, which has 3 on record"),
        ("part-00000-of-00003.jsonl", [], "not a shard of this job"),
        ("part-00000.jsonl", [_row("a"), _row("x")], ":2: id 'x' does not belong to this shard"),
        ("part-00000.jsonl.partial", [_row("g")], ":1: id 'g' does not belong to this shard"),
    ],
)
def test_shards_of_another_job_are_refused_by_name(tmp_path, name, rows, message):
    files.write_jsonl(tmp_path / name, rows)
    with pytest.raises(UserError, match=message) as caught:
        _open(tmp_path)
    assert name in str(caught.value)


def test_rows_in_another_order_are_sorted(tmp_path):
    files.write_jsonl(tmp_path / "part-00000.jsonl", [_row(id) for id in "acb"])
    assert [row["id"] for row in _open(tmp_path).read(0)] == ["a", "b", "c"]


def test_complete_shards_do_not_change_when_shards_are_added(tmp_path):
    shard_folder = _open(tmp_path)
    for id in IDS:
        shard_folder.add(_row(id))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    grown = _open(tmp_path, ids=[*SHARDS, ("h", "i")])
    assert [grown.has(id) for id in "agh"] == [True, True, False]
    grown.add(_row("i"))
    grown.add(_row("h"))
    assert grown.complete
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert before.items() <= after.items()
    assert [row["id"] for row in grown.read(3)] == ["h", "i"]


def test_the_shard_list_is_read_as_it_was_written_or_refused(tmp_path):
    path = tmp_path / "shards.jsonl"
    assert shards.read_shard_list(path) == []
    shards.write_shard_list(path, SHARDS)
    assert shards.read_shard_list(path) == SHARDS
    for line in ('{"ids": []}', '{"ids": [1]}', "{", "{}"):
        path.write_text(f'{{"ids": ["a"]}}\n{line}\n')
        with pytest.raises(UserError, match="shards.jsonl:2: expected a list of ids; restore"):
            shards.read_shard_list(path)
