"""Rows of csv and tsv files, with quotes, line breaks, bad bytes and bad headers."""

import bz2
import gzip
import lzma

import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import raw_rows, reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

from .row_files import write_zst

QUOTED = 'question,A,B,answer\r\n"What is 2, or ""two""?\nSay it.",one,two,B\r\n\r\n"1?",1,2,A\r\n'
ROWS = [
    {"question": 'What is 2, or "two"?\nSay it.', "A": "one", "B": "two", "answer": "B"},
    {"question": "1?", "A": "1", "B": "2", "answer": "A"},
]
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


def read(folder, name, **settings):
    config = SourceConfig("set", name, **settings)
    rows = raw_rows.open_rows(config, str(folder)).read()
    return [(location.line, row) for location, row in rows]


@pytest.mark.parametrize("ending", [*PACK, ".zst"])
@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_quotes_and_line_breaks_inside_fields_are_read(tmp_path, kind, delimiter, ending):
    text = QUOTED.replace(",", delimiter).replace(f"2{delimiter} or", "2, or").encode()
    path = tmp_path / f"a.{kind}{ending}"
    if ending == ".zst":
        write_zst(path, text)
    else:
        path.write_bytes(PACK[ending](text))
    assert read(tmp_path, path.name) == [(2, ROWS[0]), (5, ROWS[1])]


def test_a_byte_order_mark_is_not_part_of_the_first_column_name(tmp_path):
    (tmp_path / "a.csv").write_text(QUOTED, "utf-8-sig")
    assert list(read(tmp_path, "a.csv")[0][1]) == ["question", "A", "B", "answer"]


def test_reading_a_csv_file_computes_its_digest(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(QUOTED)
    rows = raw_rows.open_rows(SourceConfig("set", path.name), str(tmp_path))
    assert len(list(rows.read())) == 2
    assert rows.digests == {str(path): files.file_digest(path)}


def test_rows_that_cannot_be_read_are_refused_and_the_others_are_used(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b'question,answer\nSky?,blue\nIs \xff?,no\none,two,three\n"a"b,c\n"Sea?",green\n'
    )
    rows = read(tmp_path, "a.csv")
    assert [row for _, row in rows if isinstance(row, dict)] == [
        {"question": "Sky?", "answer": "blue"},
        {"question": "Sea?", "answer": "green"},
    ]
    refused = [(line, row.reason, row.text) for line, row in rows if not isinstance(row, dict)]
    assert refused == [
        (3, "not UTF-8", "Is \ufffd?,no"),
        (4, "3 fields, but there are 2 columns", "one,two,three"),
        (5, "not a row of fields: ',' expected after '\"'", '"a"b,c'),
    ]


def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer\nSky?,blue\n"Sea?,green\n' + "x,y\n" * 9)
    with pytest.raises(UserError, match=r"a\.csv:3: a quote in this row is never closed; enclose"):
        read(tmp_path, "a.csv")
    (tmp_path / "a.csv").write_text('question,answer\nSky?,blue\n"""Sea?",green\n')
    assert read(tmp_path, "a.csv")[1] == (3, {"question": '"Sea?', "answer": "green"})


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"a,b,a\n", "two columns are named 'a'; rename one of them"),
        ("q\u00e4,b\n".encode("latin-1"), "its header is not UTF-8; save the file as UTF-8"),
        (QUOTED.encode("utf-16"), "its header is not UTF-8; save the file as UTF-8"),
    ],
)
def test_an_invalid_header_is_refused(tmp_path, header, problem):
    (tmp_path / "a.csv").write_bytes(header)
    with pytest.raises(UserError, match=f"a.csv: {problem}"):
        read(tmp_path, "a.csv")


def test_columns_can_be_named_for_files_without_a_header(tmp_path):
    (tmp_path / "a.tsv").write_text("Sky?\tblue\tLook up.\nSea?\tgreen\tLook down.\n")
    config = SourceConfig("set", "a.tsv", "cot", header=("question", "answer", "cot"))
    samples = list(reading.read_samples(config, str(tmp_path), RefusedRows(None)))
    assert [(sample.question, sample.explanation("cot", "human")) for sample in samples] == [
        ("Sky?", "Look up."),
        ("Sea?", "Look down."),
    ]
    files.write_jsonl(tmp_path / "a.jsonl", [{}])
    with pytest.raises(UserError, match=r"header=\('q',\), but .*a.jsonl is read by the reader"):
        read(tmp_path, "a.jsonl", header=("q",))


def test_options_can_be_columns_of_a_csv_file(tmp_path):
    (tmp_path / "q.csv").write_text(QUOTED.replace("A\r\n", "1\r\n"))
    columns = ColumnsConfig(options=("A", "B"), answer_is="letter")
    config = SourceConfig("set", "q.csv", "columns", columns=columns)
    refused = RefusedRows(None)
    (sample,) = reading.read_samples(config, str(tmp_path), refused)
    assert (sample.id, sample.options, sample.answer) == ("set-2", ("one", "two"), "(B)")
    assert dict(refused.counts) == {"the answer is not one of the options": 1}
