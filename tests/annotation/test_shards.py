"""Shards survive being interrupted anywhere, and refuse what is not theirs."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.annotation import shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

IDS = tuple("abcdefg")
SHARDS = shards.cut(IDS, 3)


def _row(id: str) -> dict:
    return {"id": id, "text": f"text of {id} – ünïcode"}


def _open(folder, fault=lambda row: "") -> shards.ShardFolder:
    return shards.ShardFolder(folder, SHARDS, fault, logging.getLogger("test"))


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_shards_are_cut_in_order_and_the_last_is_shorter():
    assert SHARDS == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert shards.shard_name(1, 3) == "part-00001-of-00003.jsonl"


@settings(deadline=None, max_examples=30)  # disks have moods
@given(st.permutations(IDS), st.lists(st.integers(0, len(IDS)), max_size=3))
def test_any_order_with_any_interruptions_gives_the_same_files(tmp_path_factory, order, stops):
    folder = tmp_path_factory.mktemp("shards")
    written = 0
    for stop in [*stops, len(IDS)]:
        kept = _open(folder)
        for id in order:
            if not kept.has(id) and written < max(stop, written):
                kept.add(_row(id))
                written += 1
        kept.close()
    assert kept.complete
    assert _names(folder) == [shards.shard_name(index, 3) for index in range(3)]
    for index, ids in enumerate(SHARDS):
        assert kept.read(index) == [_row(id) for id in ids]


def test_a_shard_has_its_final_name_only_when_it_is_complete(tmp_path):
    kept = _open(tmp_path)
    assert [kept.add(_row(id)) for id in "cab"] == [False, False, True]
    assert kept.add(_row("e")) is False
    kept.close()
    assert _names(tmp_path) == ["part-00000-of-00003.jsonl", "part-00001-of-00003.jsonl.partial"]
    assert [row["id"] for row in kept.read(0)] == ["a", "b", "c"]


def test_a_line_cut_by_a_crash_is_forgotten_aloud_and_the_lines_before_it_are_kept(
    tmp_path, caplog
):
    kept = _open(tmp_path)
    kept.add(_row("b"))
    kept.add(_row("a"))
    kept.close()
    partial = tmp_path / "part-00000-of-00003.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-5])
    again = _open(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{partial}: forgetting the last line, which an interruption cut; its text is written again"
    ]
    assert (again.has("b"), again.has("a")) == (True, False)
    again.add(_row("c"))
    again.add(_row("a"))
    assert [row["id"] for row in again.read(0)] == ["a", "b", "c"]


def test_a_crash_between_the_last_row_and_the_rename_is_made_good(tmp_path):
    name = shards.shard_name(2, 3)
    (tmp_path / f"{name}.partial").write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path).has("g")
    assert _names(tmp_path) == [name]
    (tmp_path / f"{name}.partial").write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path).has("g")
    assert _names(tmp_path) == [name]


@pytest.mark.parametrize("written", ["abc", "ab"])  # a complete shard, and a partial one
def test_every_row_on_disk_is_asked_for_its_faults(tmp_path, written):
    kept = _open(tmp_path)
    for id in written:
        kept.add(_row(id))
    kept.close()
    (name,) = _names(tmp_path)
    with pytest.raises(UserError, match=rf"{name}: row 2, of 'b', is another's; begin again"):
        _open(tmp_path, lambda row: "is another's; begin again" if row["id"] == "b" else "")
    assert _open(tmp_path).has("b")


def test_a_second_row_for_one_id_is_a_defect_of_the_caller(tmp_path):
    kept = _open(tmp_path)
    kept.add(_row("a"))
    with pytest.raises(ValueError, match="second row for a"):
        kept.add(_row("a"))
    kept.close()


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("part-00000-of-00004.jsonl", [], "no shard of this job, which has 3"),
        ("part-00000-of-00003.jsonl", [_row("a")], "holds 1 rows, not the 3 samples"),
        ("part-00000-of-00003.jsonl", [_row("a"), _row("x")], "row 2 is of 'x'"),
        ("part-00000-of-00003.jsonl.partial", [_row("g")], "row 1 is of 'g'"),
        ("part-00000-of-00003.jsonl", [_row(id) for id in "acb"], "their order"),
        ("part-00000-of-00003.jsonl", ["text"], "row 1 is not a JSON object"),
    ],
)
def test_shards_of_another_job_are_refused_by_name(tmp_path, name, rows, message):
    files.write_jsonl(tmp_path / name, rows)
    with pytest.raises(UserError, match=message) as caught:
        _open(tmp_path)
    assert name in str(caught.value)


def test_a_shard_that_cannot_be_written_is_named(tmp_path):
    partial = tmp_path / "part-00000-of-00003.jsonl.partial"
    kept = _open(tmp_path)
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        kept.add(_row("a"))
    kept.close()
    assert error.value.filename == str(partial)
