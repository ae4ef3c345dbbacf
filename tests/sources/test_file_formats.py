"""Reading of a source: refused rows, ids of samples, and compressed and columnar files."""

import datetime
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.sample import SampleError, from_row, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def adapt(format, **row):
    return reading.to_sample(format, row, source="set", line=7, subject="things")


def read(folder, pattern="*.jsonl", *, usable=None, checked_only=False, **settings):
    refused = RefusedRows(folder / "refused.txt")
    config = SourceConfig(**{"name": "set", "path": pattern, "format": "cot"} | settings)
    try:
        read = reading.read_samples(
            config, str(folder), refused, checked_only=checked_only, usable=usable
        )
        samples = list(read)
    finally:
        refused.close()
    return samples, dict(refused.counts)


def write_rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


QUESTION = {"question": "Sky?\nOptions:\n- red\n- blue", "answer": "blue", "cot": "Look up."}


def numbered(count):
    return [QUESTION | {"question": f"{n}?\nOptions:\n- red\n- blue"} for n in range(count)]


def test_all_mmlu_rows_are_usable_and_have_57_subjects(shared_data):
    samples, refused = read(shared_data / "eval", "mmlu_test.jsonl", format="mmlu")
    assert (len(samples), refused) == (6949, {})
    assert len({sample.subject for sample in samples}) == 57


@pytest.mark.parametrize(
    ("name", "usable", "with_options", "refused"),
    [
        ("gsm8k", 7473, 0, {}),
        ("ecqa", 7050, 7050, {"the answer matches more than one option": 30}),
        ("creak", 6915, 4931, {}),
        ("aqua", 2728, 2728, {}),
        ("strategyqa", 1859, 0, {}),
    ],
)
def test_real_rationales_are_read_and_refused_rows_are_counted(
    shared_data, tmp_path, name, usable, with_options, refused
):
    rejected = RefusedRows(tmp_path / "refused.jsonl")
    config = SourceConfig(name=name, path=f"rationale/{name}_train.jsonl", format="cot")
    samples = list(reading.read_samples(config, str(shared_data), rejected))
    rejected.close()
    assert len(samples) == usable
    assert sum(bool(sample.options) for sample in samples) == with_options
    assert dict(rejected.counts) == refused
    assert all(sample.explanation("cot", "human") for sample in samples)


def test_unusable_rows_go_to_the_side_file_with_file_line_and_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    write_rows(path, QUESTION, QUESTION | {"answer": "green"})
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    samples, counts = read(tmp_path)
    assert [sample.id for sample in samples] == ["set-1"]
    entries = [entry for _, entry in files.read_jsonl(tmp_path / "refused.txt")]
    assert [(entry["line"], entry["file"]) for entry in entries] == [(2, str(path)), (3, str(path))]
    assert entries[0]["row"]["answer"] == "green"
    assert entries[1]["row"] == "{broken"
    assert sum(counts.values()) == 2


def test_a_second_row_with_the_same_id_is_refused(tmp_path):
    rows = [to_row(adapt("cot", **QUESTION))] * 2
    write_rows(tmp_path / "a.jsonl", *rows)
    samples, counts = read(tmp_path, format="sample")
    assert (len(samples), counts) == (1, {"an earlier row has the same id": 1})


def test_rows_of_several_files_have_unique_ids_and_come_in_order(tmp_path):
    write_rows(tmp_path / "b.jsonl", QUESTION)
    write_rows(tmp_path / "a.jsonl", QUESTION, QUESTION)
    samples, _ = read(tmp_path)
    assert [sample.id for sample in samples] == ["set-a.jsonl-1", "set-a.jsonl-2", "set-b.jsonl-1"]


def test_ids_of_rows_in_files_of_the_same_name_contain_the_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "train.jsonl", QUESTION)
    samples, counts = read(tmp_path, "*/train.jsonl")
    assert [sample.id for sample in samples] == ["set-one/train.jsonl-1", "set-two/train.jsonl-1"]
    assert counts == {}


def test_a_source_without_a_usable_row_names_its_files_and_the_most_frequent_reason(tmp_path):
    write_rows(tmp_path / "a.jsonl", {"question": "?"}, {"question": "?"})
    with pytest.raises(UserError, match=r"a\.jsonl is a usable sample .* 'no answer' \(2 rows\)"):
        read(tmp_path)
    write_rows(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="there are no rows"):
        read(tmp_path)


def test_an_unknown_format_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(
        UserError, match="source 'set': unknown format 'csv'; known: sample, columns, cot"
    ):
        read(tmp_path, format="csv")
    with pytest.raises(UserError, match="nowhere"):
        read(tmp_path, "nowhere.jsonl")


def annotated(gates, author="teacher"):
    texts = {"teacher": "Guess.", "human": "Look up."}
    row = to_row(adapt("cot", **QUESTION)) | {"explanations": {"cot": texts}}
    return row | {"annotations": {"cot": {"gates": gates, "author": author}}}


@pytest.mark.parametrize(
    ("gates", "authors"),
    [
        ({"finished": True, "not_empty": True}, ["human", "teacher"]),
        ({"finished": True, "not_empty": False}, ["human"]),
        ({}, ["human", "teacher"]),
    ],
)
def test_only_an_explanation_that_failed_a_gate_is_left_out(gates, authors):
    sample = reading.without_failed(from_row(annotated(gates)))
    assert sorted(sample.explanations["cot"]) == authors


@pytest.mark.parametrize(
    "changes",
    [
        {"explanations": ["x"]},
        {"explanations": {"cot": "s"}},
        {"annotations": 3},
        {"annotations": {"cot": {"gates": {"finished": True}}}},
    ],
)
def test_a_row_with_malformed_explanations_or_annotations_is_refused(tmp_path, changes):
    good = annotated({"finished": False})
    write_rows(tmp_path / "a.jsonl", good | changes | {"id": "bad"}, good)
    for checked_only in (False, True):
        samples, counts = read(tmp_path, format="sample", checked_only=checked_only)
        assert [sample.id for sample in samples] == ["set-7"]
        assert sum(counts.values()) == 1


def test_a_row_with_half_a_surrogate_pair_is_refused(tmp_path):
    row = to_row(adapt("cot", **QUESTION))
    write_rows(tmp_path / "a.jsonl", row, row | {"id": "bad", "question": "Sky? \ud83d"})
    samples, counts = read(tmp_path, format="sample")
    assert [sample.id for sample in samples] == ["set-7"]
    assert list(counts) == [
        r"question contains half a surrogate pair, '\ud83d', which UTF-8 cannot encode"
    ]


def test_rows_that_fail_the_callers_check_are_refused_with_their_location(tmp_path):
    def usable(sample):
        if not sample.options:
            raise SampleError("no options to rank")

    open_question = {"question": "Why?", "answer": "so", "cot": ""}
    write_rows(tmp_path / "a.jsonl", QUESTION)
    write_rows(tmp_path / "b.jsonl", QUESTION, open_question, QUESTION)
    samples, counts = read(tmp_path, limit=3, usable=usable)
    assert [sample.id for sample in samples] == ["set-a.jsonl-1", "set-b.jsonl-1", "set-b.jsonl-3"]
    assert counts == {"no options to rank": 1}
    ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
    assert (entry["file"], entry["line"]) == (str(tmp_path / "b.jsonl"), 2)
    write_rows(tmp_path / "a.jsonl", open_question)
    with pytest.raises(
        UserError, match=r"the most frequent reason is 'no options to rank' \(1 row\)"
    ):
        read(tmp_path, "a.jsonl", usable=usable)


def test_the_error_for_an_empty_source_does_not_show_reasons_of_another_source(tmp_path):
    write_rows(tmp_path / "a.jsonl")
    refused = RefusedRows(None)
    refused.refuse("other.jsonl", 1, "no answer", {})
    with pytest.raises(UserError, match="there are no rows"):
        list(reading.read_samples(SourceConfig("set", "a.jsonl"), str(tmp_path), refused))


def test_compressed_files_and_tables_give_the_same_samples_as_plain_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    write_rows(path, *numbered(5), QUESTION | {"answer": "green"})
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    rows = [row for _, row in files.read_jsonl(path)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    expected, counts = read(tmp_path, "a.jsonl")
    assert len(expected) == 5 and counts == {"the answer is not one of the options": 1}
    for name in ("b.jsonl.gz", "c.parquet"):
        assert read(tmp_path, name) == (expected, counts)
        ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
        assert (entry["file"], entry["line"]) == (str(tmp_path / name), 6)


def test_a_refused_row_that_is_not_json_is_written_as_text(tmp_path):
    when = datetime.date(2024, 2, 29)
    table = pa.Table.from_pylist([{"question": "?", "answer": "x", "cot": "", "when": when}] * 2)
    table = table.set_column(1, "answer", pa.array(["x", ""]))
    pq.write_table(table, tmp_path / "a.parquet")
    samples, counts = read(tmp_path, "a.parquet")
    assert (len(samples), counts) == (1, {"empty answer": 1})
    ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
    assert entry["row"]["when"] == "datetime.date(2024, 2, 29)"


def test_a_missing_column_is_refused_only_if_all_rows_were_read(tmp_path):
    rows = [{"question": "?", "answer": "x"}, {"question": "!", "answer": "y", "why": "So."}]
    write_rows(tmp_path / "a.jsonl", *rows)
    settings = {"format": "columns", "columns": ColumnsConfig(cot="why")}
    assert len(read(tmp_path, limit=1, **settings)[0]) == 1
    assert len(read(tmp_path, **settings)[0]) == 2
    write_rows(tmp_path / "a.jsonl", rows[0])
    with pytest.raises(UserError, match="no row has a column why; the columns are question, ans"):
        read(tmp_path, limit=2, **settings)


def test_a_saved_dataset_without_rows_is_named(tmp_path):
    files.write_json(tmp_path / "saved/state.json", {"_data_files": []})
    with pytest.raises(
        UserError, match=r"no row of .*saved/state.json is a usable sample.*there are no rows"
    ):
        read(tmp_path, "saved")
