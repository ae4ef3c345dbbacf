"""Bad bytes, missing columns, NaN, and the same value in several JSON types."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import raw_rows, reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

NAN = float("nan")
FOUR = ("o1", "o2", "o3", "o4")


def read(folder, name, format="columns", **columns):
    refused = RefusedRows(folder / "refused.txt")
    named = ColumnsConfig(**columns)
    config = SourceConfig("set", name, format, columns=named)
    try:
        samples = list(reading.read_samples(config, str(folder), refused))
    finally:
        refused.close()
    return samples, dict(refused.counts)


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_table(path, table):
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=1000)
        return
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=1000)


def not_utf8(values):
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl", "a.csv"])
def test_only_the_row_with_a_byte_that_is_not_utf8_is_refused(tmp_path, name):
    path, questions = tmp_path / name, [f"Is it {n}?".encode() for n in range(3000)]
    questions[1500] = b"Is \xff it?"
    if name.endswith("jsonl"):
        path.write_bytes(b"".join(b'{"question": "%s", "answer": "x"}\n' % q for q in questions))
    elif name.endswith("csv"):
        path.write_bytes(b"question,answer\n" + b"".join(q + b",x\n" for q in questions))
    else:
        write_table(path, pa.table({"question": not_utf8(questions), "answer": ["x"] * 3000}))
    samples, counts = read(tmp_path, name)
    assert len(samples) == 2999
    assert {sample.question for sample in samples} == {f"Is it {n}?" for n in range(3000)} - {
        "Is it 1500?"
    }
    columnar = path.suffix in (".parquet", ".arrow")
    assert counts == {"column 'question' is not UTF-8" if columnar else "not UTF-8": 1}
    ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
    assert entry["line"] == (1502 if name.endswith("csv") else 1501)
    assert "Is " in entry["row"]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_row_with_a_date_that_python_cannot_represent_is_refused(tmp_path, name):
    when = pa.array([0, 2**50, 1], pa.timestamp("s"))
    write_table(tmp_path / name, pa.table({"question": ["1?", "2?", "3?"], "when": when}))
    rows = raw_rows.open_rows(SourceConfig("set", name), str(tmp_path)).read()
    first, second, third = (row for _, row in rows)
    assert (first["when"], third["question"]) == (datetime.datetime(1970, 1, 1), "3?")
    assert second.reason.startswith("column 'when' contains a value that Python cannot represent")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_row_with_bad_bytes_inside_a_list_is_refused(tmp_path, name):
    lists = pa.ListArray.from_arrays([0, 2, 4], not_utf8([b"a", b"b", b"c", b"\xfe"]))
    table = pa.table({"question": ["1?", "2?"], "choices": lists, "answer": ["a", "c"]})
    write_table(tmp_path / name, table)
    samples, counts = read(tmp_path, name, options=("choices",))
    assert [sample.options for sample in samples] == [("a", "b")]
    assert counts == {"column 'choices' is not UTF-8": 1}


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl"])
def test_a_column_that_one_of_two_shards_lacks_is_empty_in_its_samples(tmp_path, ending):
    shards = [{"question": "1?", "answer": "x", "cot": "So."}, {"question": "2?", "answer": "y"}]
    for number, row in enumerate(shards):
        path = tmp_path / f"s-{number:05}.{ending}"
        if ending == "jsonl":
            write_lines(path, row)
        else:
            write_table(path, pa.Table.from_pylist([row]))
    samples, counts = read(tmp_path, f"s-*.{ending}", cot="cot")
    explained = [sample.explanation("cot", "human") for sample in samples]
    assert (explained, counts) == (["So.", None], {})


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_rows_of_a_shard_without_a_required_column_are_refused(tmp_path, ending):
    for number, row in enumerate(({"question": "1?", "answer": "x"}, {"question": "2?", "z": "y"})):
        write_table(tmp_path / f"s-{number:05}.{ending}", pa.Table.from_pylist([row]))
    samples, counts = read(tmp_path, f"s-*.{ending}")
    assert len(samples) == 1
    assert counts == {"no column 'answer'; the columns are question, z": 1}
    with pytest.raises(UserError, match=r"and 1 other file: no column 'w'; the columns are questi"):
        read(tmp_path, f"s-*.{ending}", cot="w")


@pytest.mark.parametrize(
    ("options", "columns", "expected"),
    [
        ({"o1": "a", "o2": "b", "o3": "c", "o4": NAN}, FOUR, ("a", "b", "c")),
        ({"o1": "a", "o2": "b", "o3": None, "o4": NAN}, FOUR, ("a", "b")),
        ({"all": ["a", "b", NAN]}, ("all",), ("a", "b")),
        ({"all": {"x": "a", "y": "b", "z": NAN}}, ("all",), ("a", "b")),
        ({"all": [{"label": "x", "text": "a"}, {"label": "y", "text": "b"}]}, ("all",), ("a", "b")),
        ({"all": {"text": ["a", "b", NAN], "label": ["x", "y", NAN]}}, ("all",), ("a", "b")),
        ({"all": NAN}, ("all",), ()),
    ],
)
def test_nan_is_null_in_every_layout_of_options(tmp_path, options, columns, expected):
    answer = "a" if expected else "free"
    write_lines(tmp_path / "a.jsonl", {"question": "?", "answer": answer, "topic": NAN, **options})
    (sample,), _ = read(tmp_path, "a.jsonl", options=columns, subject="topic")
    assert (sample.options, sample.subject) == (expected, "")


@pytest.mark.parametrize(
    ("row", "columns", "reason"),
    [
        ({"o1": "a", "o2": NAN, "o3": "c", "o4": "d"}, FOUR, "column 'o2' contains null instead"),
        ({"o1": "a", "o2": "", "o3": "c"}, FOUR, "column 'o2' contains an empty option before"),
        ({"all": ["a", NAN, "c"]}, ("all",), "column 'all' contains null instead of text"),
        ({"o1": "a", "o2": "b", "answer": NAN}, FOUR, "column 'answer' is null"),
    ],
)
def test_the_reason_for_an_unusable_null_names_its_column(tmp_path, row, columns, reason):
    write_lines(tmp_path / "a.jsonl", {"question": "?", "answer": "a"} | row)
    with pytest.raises(UserError, match=f"the most frequent reason is [\"']*{reason}"):
        read(tmp_path, "a.jsonl", options=columns)


@pytest.mark.parametrize("format", ["sample", "cot", "mmlu"])
def test_nan_is_null_in_every_format(format):
    row = {"question": "?", "answer": "A", "cot": "", "choices": ["a", "b"], "id": NAN}
    row |= {"subject": "law"} if format == "mmlu" else {"subject": NAN}
    sample = reading.to_sample(format, row, source="set", line=7, subject="none")
    assert sample.id == "set-7"


def meaning(answer, options, **columns):
    row = {"question": "?", "answer": answer, "options": options}
    try:
        named = ColumnsConfig(options=("options",), **columns)
        return reading.to_sample("columns", row, source="s", line=1, named=named).answer
    except ValueError as error:
        return str(error).partition(" names ")[0].partition(" is not one ")[0]


@pytest.mark.parametrize(
    ("number", "options", "expected"),
    [
        (3, ["2", "0", "3", "1"], "column 'answer'"),  # index 3, text of option 2
        (0, ["0", "3", "5", "1"], "(A)"),  # both readings agree
        (0, ["2", "1", "0", "4"], "column 'answer'"),
        (2, ["5", "6", "7"], "(C)"),
        (1, ["red", "blue"], "(B)"),
        (2, ["red", "blue"], "column 'answer'"),  # neither
        (22, ["21", "22", "23"], "(B)"),  # cannot be an index
        (3, ["3", "4", "5"], "column 'answer'"),  # index 3 counted from 1, or the first option
        (1, [0, 1], "(B)"),
        (1, {"1": "red", "2": "blue"}, "column 'answer'"),
        (2, {"1": "red", "2": "blue"}, "(B)"),
    ],
)
def test_a_whole_number_means_the_same_in_every_json_type(number, options, expected):
    forms = [number, float(number), str(number), f" {number} ", f"{number}.0"]
    assert [meaning(form, options) for form in forms] == [expected] * len(forms)


def test_answer_is_decides_the_meaning_of_an_ambiguous_number():
    options = ["2", "0", "3", "1"]
    answers = {kind: meaning("3", options, answer_is=kind) for kind in ("number", "text")}
    assert answers == {"number": "(D)", "text": "(C)"}


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("creak", {"sentence": "Ice is hot.", "label": False}),
        ("creak", {"sentence": "Ice is hot.", "label": "False"}),
        ("strategyqa", {"facts": [], "origin_question": "Hot?", "origin_answer": "false"}),
        ("mmlu", {"question": "?", "subject": "law", "choices": ["a", "b"], "answer": "1"}),
        ("mmlu", {"question": "?", "subject": "law", "choices": ["a", "b"], "answer": 1.0}),
    ],
)
def test_published_formats_accept_an_answer_of_every_json_type(format, row):
    assert reading.to_sample(format, row, source="set", line=1).answer == "(B)"


@pytest.mark.parametrize("format", ["sample", "columns", "creak", "ecqa", "strategyqa"])
@pytest.mark.parametrize(
    ("id", "expected"), [(0, "0"), (1, "1"), (7.0, "7"), ("0", "0"), (None, "set-9"), ("", "set-9")]
)
def test_whole_numbers_including_0_are_used_as_ids(format, id, expected):
    row = {"question": "?", "answer": "x", "sentence": "S.", "label": "true", "facts": []}
    row |= {f"q_op{n}": f"o{n}" for n in range(1, 6)} | {"q_text": "?", "q_ans": "o1"}
    row |= {"origin_question": "?", "origin_answer": True}
    row |= dict.fromkeys(("id", "ex_id", "q_no", "qid"), id)
    named = ColumnsConfig(id="id")
    assert reading.to_sample(format, row, source="set", line=9, named=named).id == expected


def test_an_id_that_is_a_fraction_is_refused():
    row = {"id": 1.5, "question": "?", "answer": "x"}
    with pytest.raises(ValueError, match="id is a fraction, expected text"):
        reading.to_sample("sample", row, source="set", line=1)


@pytest.mark.parametrize(
    ("options", "answer", "stripped"),
    [
        (["A) 5", "B) 6"], "B", ("5", "6")),
        (["A)5", "B)6"], "B) 6", ("5", "6")),
        (["(a) 1.5", "(b) 2.5"], "b", ("1.5", "2.5")),
        (["A. x", "B. y"], "y", ("x", "y")),
        (["1: x", "2: y"], "2", ("x", "y")),
    ],
)
def test_marks_are_stripped_and_can_be_given_as_answers(options, answer, stripped):
    row = {"question": "?", "options": options, "answer": answer}
    named = ColumnsConfig(options=("options",), strip_marks=True)
    sample = reading.to_sample("columns", row, source="s", line=1, named=named)
    assert (sample.options, sample.answer) == (stripped, "(B)")


@pytest.mark.parametrize("options", [["A) 5", "6"], ["A) 5", "C) 6"], ["1.5", "2.5"]])
def test_options_without_a_series_of_marks_are_refused(options):
    assert meaning("5", options, strip_marks=True).startswith("column 'options' contains an option")


def test_an_answer_is_split_at_a_mark_and_the_text_before_it_is_the_explanation(tmp_path):
    solution = "9 + 9 = #### no, 18.\n#### 18"
    rows = ({"question": "9+9?", "answer": solution}, {"question": "2?", "answer": "2"})
    write_lines(tmp_path / "a.jsonl", *rows)
    (sample,), counts = read(tmp_path, "a.jsonl", answer_after="####", cot="answer")
    assert sample.answer == "18"
    assert sample.explanation("cot", "human") == "9 + 9 = #### no, 18."
    assert counts == {"column 'answer' does not contain '####'": 1}


def test_the_error_for_a_zstd_file_with_a_long_window_says_so(tmp_path):
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([20 << 3]) + (1 | 3 << 3).to_bytes(3, "little")
    (tmp_path / "a.jsonl.zst").write_bytes(frame + b"{}\n")
    with pytest.raises(UserError, match=r"a.jsonl.zst: .*longer window .* `zstd -d --long=31`"):
        read(tmp_path, "a.jsonl.zst")


def test_a_file_of_unknown_type_can_be_read_after_renaming_it_as_the_error_says(tmp_path):
    path = tmp_path / "a.txt"
    write_lines(path, {"question": "?", "answer": "x"})
    with pytest.raises(UserError, match=r"rename the file so that it ends in \.jsonl, \.csv"):
        read(tmp_path, "a.txt")
    path.rename(tmp_path / "a.jsonl")
    assert len(read(tmp_path, "a.jsonl")[0]) == 1
