"""Refused rows are counted by reason, written to a file, and summarized in a few lines."""

import logging
import random

import pytest

from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import ReasonCounts, RefusedRows


def refused(reasons, path=None):
    rows = RefusedRows(path)
    for line, reason in enumerate(reasons, start=1):
        rows.refuse("in.jsonl", line, reason, {})
    rows.close()
    return rows


def test_refused_rows_are_counted_and_written_with_file_and_line(tmp_path):
    (tmp_path / "refused.jsonl").write_text("of an earlier reading")
    rows = RefusedRows(tmp_path / "refused.jsonl")
    assert not rows.path.exists()
    rows.refuse("in.jsonl", 1, "no text", "half a character: \ud83d")
    rows.refuse("in.jsonl", 4, "no question", {"q": ""})
    rows.refuse("in.jsonl", 9, "no question", {"id": b"bytes"})
    rows.close()
    assert rows.total == 3
    assert rows.counts == {"no question": 2, "no text": 1}
    assert {file: own.counts for file, own in rows.by_file.items()} == {"in.jsonl": rows.counts}
    _, (_, second), (_, third) = files.read_jsonl(rows.path)
    assert second == {"file": "in.jsonl", "line": 4, "reason": "no question", "row": {"q": ""}}
    assert third["row"] == {"id": "b'bytes'"}


LABELS = [f"label '{number}' is neither 'true' nor 'false'" for number in range(4000)]
ESCAPED = [f"answer {text!r} is not an option" for text in ("it's", 'a "b"', "\\'", "c", "d", "e")]
NUMBERS = [f"line has {count:,} fields, expected {count + 1}" for count in range(995, 1003)]
MANY_KINDS = [f"kind {chr(97 + i % 26)}{chr(97 + i // 26)} of fault" for i in range(600)]


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (LABELS, "label ... is neither ... nor ..."),
        (ESCAPED, "answer ... is not an option"),
        (NUMBERS, "line has ... fields, expected ..."),
    ],
)
def test_reasons_that_differ_only_in_values_are_counted_together(reasons, kind):
    rows = refused(reasons)
    assert rows.counts == {kind: len(reasons)}
    (line,) = rows.summary()
    assert line == f"{len(reasons):,} rows refused: {kind}, for example: {reasons[0]}"


def test_three_places_are_kept_for_each_reason():
    rows = RefusedRows(None, keep_places=True)
    reasons = ["no text", *LABELS[:2], "no question", *LABELS[2:9], *["no text"] * 5]
    part = rows.part()
    for line, reason in enumerate(reasons, start=1):
        part.refuse("in.jsonl", line, reason, {})
    assert rows.places_of("no text") == ["in.jsonl:1", "in.jsonl:12", "in.jsonl:13"]
    assert rows.places_of("no question") == ["in.jsonl:4"]
    (kind,) = rows.examples
    assert rows.places_of(kind) == ["in.jsonl:2", "in.jsonl:3", "in.jsonl:5"]


def test_places_are_not_kept_unless_they_are_asked_for():
    assert refused(["no text"]).places_of("no text") == []


def test_a_few_reasons_keep_their_values():
    columns = [f"no column {name!r}" for name in "abc"]
    assert refused(columns).counts == dict.fromkeys(columns, 1)


def test_counts_do_not_depend_on_the_order_of_rows():
    reasons = [*LABELS[:50], *NUMBERS, "no question", "no question", "no column 'a'"]
    shuffled = random.Random(0).sample(reasons, len(reasons))
    assert refused(shuffled).counts == refused(reasons).counts
    assert refused(reasons).counts["label ... is neither ... nor ..."] == 50


def test_thousands_of_reasons_give_few_lines_and_the_side_file_has_every_row(tmp_path, caplog):
    rows = refused([*LABELS, *["no question"] * 7, *MANY_KINDS], tmp_path / "refused.jsonl")
    with caplog.at_level(logging.WARNING):
        rows.report(logging.getLogger(), "creak")
    lines = caplog.messages
    assert len(lines) <= 11
    assert lines[0].startswith("creak: 4,000 rows refused: label ... is neither")
    assert lines[0].endswith(f"; see {tmp_path}/refused.jsonl")
    assert any("7 rows refused: no question" in line for line in lines)
    assert " other reasons" in lines[-1]
    assert rows.total == sum(rows.counts.values()) == 4607
    assert len(rows.counts) <= 102
    assert len(list(files.read_jsonl(rows.path))) == 4607


def test_a_part_counts_its_own_rows_and_passes_them_on(tmp_path):
    whole = RefusedRows(tmp_path / "refused.jsonl")
    whole.refuse("a.jsonl", 1, "no question", {})
    part = whole.part()
    part.part().refuse("b.jsonl", 2, "no answer", {})
    whole.close()
    assert part.counts == {"no answer": 1}
    assert whole.counts == {"no question": 1, "no answer": 1}
    assert [row["file"] for _, row in files.read_jsonl(whole.path)] == ["a.jsonl", "b.jsonl"]


def test_memory_of_the_counts_is_bounded_if_every_row_has_another_kind_of_reason():
    counts = ReasonCounts()
    for reason in MANY_KINDS:
        counts.add(reason)
    assert counts.counts["other reasons"] == 500
    assert counts.counts.total() == 600
