"""Class labels, from the features that datasets record to the answers of samples."""

import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label, labelled, names_of_datasets
from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.sources import raw_rows, reading
from teacherlm_jax.sources.columns import from_columns
from teacherlm_jax.storage.refused_rows import RefusedRows

TEXT = {"dtype": "string", "_type": "Value"}
LABEL = {"names": ["negative", "positive"], "_type": "ClassLabel"}
ROWS = [{"question": "Good?", "label": 1}, {"question": "Bad?", "label": 0}]


def names_of(label):
    return label.name if isinstance(label, Label) else label


def test_a_label_behaves_like_its_number():
    label = Label(1, "positive")
    assert (label, str(label), json.dumps([label])) == (1, "1", "[1]")
    copy = pickle.loads(pickle.dumps(label))
    assert (copy, copy.name) == (1, "positive")


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        (LABEL, 1, "positive"),
        (LABEL, -1, ""),
        (LABEL, 2, ""),
        (LABEL, None, None),
        (TEXT, 1, 1),
        ({"feature": LABEL, "length": -1, "_type": "Sequence"}, [1, 0], ["positive", "negative"]),
        ([LABEL], [0], ["negative"]),
        ({"a": LABEL, "b": TEXT}, {"a": 0, "b": 0}, {"a": "negative", "b": 0}),
        ({"feature": {"a": LABEL}, "_type": "List"}, {"a": [0]}, {"a": ["negative"]}),
        ([{"a": LABEL}], [{"a": 0}], [{"a": "negative"}]),
        ({"a": LABEL}, {"other": 0}, {"other": 0}),
        ({"a": LABEL}, None, None),
        (None, 1, 1),
    ],
)
def test_labels_are_named_at_every_depth_of_the_features(feature, value, expected):
    with_labels = labelled(value, names_of_datasets(feature))

    def named(value):
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list) else names_of(value)

    assert named(with_labels) == expected


def write(path, features):
    """Write a table with its features in the metadata, as `datasets` does."""
    table = pa.Table.from_pylist(ROWS)
    metadata = json.dumps({"info": {"features": features}, "fingerprint": "1"})
    table = table.replace_schema_metadata({"huggingface": metadata})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_answers_and_subjects_are_the_names_of_class_labels(tmp_path, name):
    write(tmp_path / name, {"question": TEXT, "label": LABEL})
    columns = ColumnsConfig(answer="label", subject="label")
    config = SourceConfig("set", name, "columns", columns=columns)
    samples = list(reading.read_samples(config, str(tmp_path), RefusedRows(None)))
    assert [(sample.answer, sample.subject) for sample in samples] == [
        ("positive", "positive"),
        ("negative", "negative"),
    ]


@pytest.mark.parametrize(
    "features", [None, "names", {"label": 3}, {"label": {"_type": "ClassLabel"}}]
)
def test_a_table_without_recorded_labels_has_plain_numbers(tmp_path, features):
    write(tmp_path / "a.arrow", features)
    rows = raw_rows.open_rows(SourceConfig("set", "a.arrow"), str(tmp_path)).read()
    assert [type(row["label"]) for _, row in rows] == [int, int]


OPTIONS = {"options": ("choices",)}


@pytest.mark.parametrize(
    ("label", "columns", "answer"),
    [
        (Label(1, "x"), {}, "x"),
        (Label(1, "x"), OPTIONS, "(B)"),
        (Label(1, "x"), {**OPTIONS, "first": 1}, "(A)"),
        (Label(1, "x"), {**OPTIONS, "answer_is": "text"}, "(A)"),
        (Label(1, "A"), {**OPTIONS, "answer_is": "letter"}, "(A)"),
        (Label(1, "x"), {"answer_is": "number"}, "1"),
    ],
)
def test_a_label_selects_an_option_by_number_or_is_an_answer_by_name(label, columns, answer):
    row = {"question": "?", "choices": ["x", "y"], "answer": label}
    assert from_columns(ColumnsConfig(**columns), row)["answer"] == answer


def test_options_may_be_labels():
    row = {"question": "?", "choices": [Label(0, "no"), Label(1, "yes")], "answer": 1}
    assert from_columns(ColumnsConfig(**OPTIONS), row)["options"] == ["no", "yes"]


def test_a_label_cannot_be_a_question():
    with pytest.raises(
        SampleError, match="column 'question' contains a class label instead of text"
    ):
        from_columns(ColumnsConfig(), {"question": Label(1, "x"), "answer": "x"})


def test_a_class_number_without_a_name_is_refused_as_an_answer_and_ignored_as_a_subject():
    row = {"question": "?", "choices": ["x", "y"], "answer": Label(-1), "topic": Label(-1)}
    with pytest.raises(SampleError, match="column 'answer' contains a class number without a name"):
        from_columns(ColumnsConfig(), row)
    with pytest.raises(SampleError, match="column 'answer' is not one of 2 options"):
        from_columns(ColumnsConfig(**OPTIONS), row)
    assert from_columns(ColumnsConfig(subject="topic"), row | {"answer": "x"})["subject"] == ""
