"""Files of explanations survive interruptions and damage, and refuse rows of other jobs."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.annotation.shards import shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

IDS = tuple("abcdefg")
NAME = "part-00000.jsonl"
PARTIAL = f"{NAME}.partial"


def _row(id: str) -> dict:
    return {"id": id, "text": f"text of {id} – ünïcode"}


def _open(folder, ids=("a", "b", "c"), fault=lambda row: "") -> shards.ShardTexts:
    path, log = StoragePath(folder) / NAME, logging.getLogger("test")
    return shards.ShardTexts(path, ids, fault, log, folder, lambda row: "text" in row)


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _read(folder, ids=("a", "b", "c")):
    return shards.read_rows(StoragePath(folder) / NAME, ids)


@settings(max_examples=30)
@given(st.permutations(IDS), st.lists(st.integers(0, len(IDS)), max_size=3))
def test_any_order_with_any_interruptions_gives_the_same_file(tmp_path_factory, order, stops):
    folder = tmp_path_factory.mktemp("shards")
    written = 0
    for stop in [*stops, len(IDS)]:
        texts = _open(folder, IDS)
        for id in order:
            if not texts.has(id) and written < max(stop, written):
                texts.add(_row(id))
                written += 1
        texts.close()
    assert texts.complete
    assert _names(folder) == [NAME]
    assert _read(folder, IDS) == [_row(id) for id in IDS]


def test_a_file_has_its_final_name_only_when_it_is_complete(tmp_path):
    texts = _open(tmp_path)
    assert [texts.add(_row(id)) for id in "ca"] == [False, False]
    assert _names(tmp_path) == [PARTIAL]
    assert len(texts) == 2
    assert texts.add(_row("b"))
    assert _names(tmp_path) == [NAME]
    assert [row["id"] for row in _read(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize("name", [NAME, PARTIAL])
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
    texts = _open(tmp_path)
    assert "".join(id for id in "abc" if not texts.has(id)) == lost
    warnings = [record.getMessage() for record in caplog.records]
    assert [message.startswith(f"{tmp_path / name}: damaged lines: ") for message in warnings] == (
        [True] if lost else []
    )
    texts.close()
    again = _open(tmp_path)  # the damaged lines were removed from disk
    assert len(caplog.records) == bool(lost)
    for id in lost:
        again.add(_row(id))
    assert _read(tmp_path) == [_row(id) for id in "abc"]
    assert _names(tmp_path) == [NAME]


def test_a_crash_between_the_last_row_and_the_final_name_is_recovered(tmp_path):
    (tmp_path / PARTIAL).write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path, ["g"]).has("g")
    assert _names(tmp_path) == [NAME]
    (tmp_path / PARTIAL).write_text(json.dumps(_row("g")) + "\n")
    assert _open(tmp_path, ["g"]).has("g")
    assert _names(tmp_path) == [NAME]


@pytest.mark.parametrize("written", ["abc", "ab"])  # a complete file, and a partial one
def test_a_row_on_disk_that_belongs_to_another_job_is_refused(tmp_path, written):
    texts = _open(tmp_path)
    for id in written:
        texts.add(_row(id))
    texts.close()
    (name,) = _names(tmp_path)
    with pytest.raises(
        UserError, match=rf"{name}:2: the explanation of 'b' is another's; begin again"
    ):
        _open(tmp_path, fault=lambda row: "is another's; begin again" if row["id"] == "b" else "")
    assert _open(tmp_path).has("b")


def test_adding_a_second_row_for_an_id_raises(tmp_path):
    texts = _open(tmp_path)
    texts.add(_row("a"))
    with pytest.raises(ValueError, match="second row for a"):
        texts.add(_row("a"))
    texts.close()


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (NAME, [_row("a"), _row("x")], ":2: id 'x' does not belong to this shard"),
        (PARTIAL, [_row("g")], ":1: id 'g' does not belong to this shard"),
    ],
)
def test_rows_of_another_shard_are_refused_by_name(tmp_path, name, rows, message):
    files.write_jsonl(tmp_path / name, rows)
    with pytest.raises(UserError, match=message) as caught:
        _open(tmp_path)
    assert name in str(caught.value)


def test_rows_in_another_order_are_sorted(tmp_path):
    files.write_jsonl(tmp_path / NAME, [_row(id) for id in "acb"])
    assert _read(tmp_path) is None
    assert _open(tmp_path).complete
    assert [row["id"] for row in _read(tmp_path)] == ["a", "b", "c"]


def test_a_complete_file_is_not_replaced_by_another_process_that_wrote_the_same_shard(tmp_path):
    slow = _open(tmp_path)
    slow.add(_row("a"))
    fast = _open(tmp_path)
    for id in "bc":
        fast.add(_row(id))
    before = (tmp_path / NAME).stat()
    for id in "bc":
        slow.add(_row(id))
    after = (tmp_path / NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert _names(tmp_path) == [NAME]
