"""Survey of a source of every kind, including those that TensorFlow reads."""

import gzip
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from teacherlm_jax import config as config_module
from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label
from teacherlm_jax.data.sample import from_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import raw_rows
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.sources.raw_rows import RowLocation, open_rows
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.surveyed_source import SurveyedSource, SurveySettings, survey_source

NAMED = ColumnsConfig(options=("choices",), answer="label", cot="why")


def write_builder(folder, **splits):
    """Write a TFDS dataset in shards of three rows; return its folder."""
    features = tfds.features.FeaturesDict(
        {
            "question": tfds.features.Text(),
            "choices": tfds.features.Sequence(tfds.features.Text()),
            "label": tfds.features.ClassLabel(names=["first", "second"]),
            "why": tfds.features.Text(),
            "spans": tfds.features.Sequence(tfds.features.Sequence(np.int64)),
            "score": np.float32,
        }
    )
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="toy", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="toy"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=3)
    writer.initialize_splits(list(splits))
    for name, count in splits.items():
        rows = [
            {
                "question": f"Wörd {name} {number}?",
                "choices": ["x", "y"],
                "label": number % 2,
                "why": "Because.",
                "spans": [[1], [2, number]],
                "score": 0.5,
            }
            for number in range(count)
        ]
        writer.add_examples({name: rows})
    writer.close_all()
    return folder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return write_builder(tmp_path_factory.mktemp("tfds") / "toy" / "1.0.0", train=5, test=2)


def read(path, **settings):
    return list(open_rows(SourceConfig("set", str(path), **settings), "").read())


def test_every_reader_of_the_config_is_implemented(builder):
    assert set(config_module.READERS) == set(raw_rows.READERS)


def test_a_tfds_dataset_gives_plain_rows_with_their_locations(builder):
    rows = read(builder)
    assert [location.line for location, _ in rows] == [1, 2, 3, 1, 2]
    assert rows[4][0].file == str(builder / "toy-train.tfrecord-00001")
    assert rows[4][1] == {
        "question": "Wörd train 4?",
        "choices": ["x", "y"],
        "label": 0,
        "why": "Because.",
        "spans": [[1], [2, 4]],
        "score": 0.5,
    }
    assert [type(value) for value in rows[0][1].values()] == [list, Label, str, float, list, str]


def test_a_part_of_a_tfds_split_keeps_the_locations_of_its_rows(builder):
    rows = read(builder, split="train[1:4]")
    assert [location.line for location, _ in rows] == [2, 3, 1]
    assert [row["question"][-2] for _, row in rows] == ["1", "2", "3"]
    assert len(read(builder, split="test")) == 2


@pytest.mark.parametrize("split", ["dev", "dev[:1]", "train[", "train[7:2]"])
def test_an_unknown_split_is_refused(builder, split):
    with pytest.raises(UserError) as raised:
        read(builder, split=split)
    assert str(raised.value).startswith(f"{builder}: cannot read split={split!r}: ")


def test_a_missing_or_truncated_shard_is_named(tmp_path):
    folder = write_builder(tmp_path / "toy" / "1.0.0", train=5)
    shard = folder / "toy-train.tfrecord-00001"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9])
    with pytest.raises(UserError, match=rf"{folder}: damaged, truncated or not readable: .*trunc"):
        read(folder)
    shard.unlink()
    with pytest.raises(UserError, match=rf"{folder}: damaged, trunc.*toy-train.tfrecord-00001; No"):
        read(folder)


def test_a_tfds_dataset_is_a_source(builder, tmp_path):
    refused = RefusedRows(None)
    config = SourceConfig("toy", str(builder), "columns", columns=NAMED)
    source, _ = survey_source(config, SurveySettings(""), refused, tmp_path / "scratch")
    first, *_, last = source.read()
    assert (source.samples, source.refused) == (5, 0)
    assert (first.question, first.options, first.answer) == ("Wörd train 0?", ("x", "y"), "(A)")
    assert first.explanation("cot", "human") == "Because."
    assert last.id == "toy-toy-train.tfrecord-00001-2"
    assert sorted(source.files) == [
        "dataset_info.json",
        "features.json",
        "toy-train.tfrecord-00000",
        "toy-train.tfrecord-00001",
    ]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_names_its_folder(tmp_path, name):
    folder = write_builder(tmp_path / "toy" / "1.0.0", train=5)
    (folder / name).write_text('{"half": ')
    with pytest.raises(UserError, match=rf"{folder}: cannot read split='train': "):
        read(folder)


def example(**values):
    """Return a serialized tf.train.Example with texts and numbers."""
    features = {}
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, int) for item in items):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=items))
        else:
            texts = [item.encode() if isinstance(item, str) else item for item in items]
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, *records):
    options = "GZIP" if path.suffix == ".gz" else None
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


@pytest.mark.parametrize("name", ["train.tfrecord-00000-of-00001", "train.tfrecord.gz"])
def test_tfrecords_of_examples_give_plain_rows_with_their_locations(tmp_path, name):
    rows = [
        {"question": "Grün?", "choices": ["x", "y"], "label": 1, "ids": [], "raw": b"\xff\xfe"},
        {"question": "Blue?", "choices": ["x", "y"], "label": 0, "ids": [3, 4], "raw": "ok"},
    ]
    write_records(tmp_path / name, *(example(**row) for row in rows))
    located = read(tmp_path / name)
    assert [row for _, row in located] == rows
    assert [location for location, _ in located] == [(str(tmp_path / name), n) for n in (1, 2)]


def test_an_invalid_record_is_refused_and_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_records(path, example(question="?", answer="x"), b"\x0a\xff no example")
    refused = RefusedRows(None)
    config = SourceConfig("set", str(path), "columns")
    source, _ = survey_source(config, SurveySettings(""), refused, tmp_path / "scratch")
    assert (source.samples, dict(refused.counts)) == (1, {"not a tf.train.Example": 1})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=rf"{path}: damaged, truncated or not readable"):
        read(path)


def write_table(path, count):
    rows = [{"question": f"{n}?", "answer": "x"} for n in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_source_records_the_digest_of_every_file(tmp_path):
    for number in range(2):
        write_table(tmp_path / f"part-{number}.parquet", 3)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"question": "?", "answer": "x"}\n'))
    for pattern in ("part-*.parquet", "a.jsonl.gz"):
        config = SourceConfig("set", pattern, "columns")
        source, _ = survey_source(
            config, SurveySettings(str(tmp_path)), RefusedRows(None), tmp_path / "scratch"
        )
        assert source.files == {
            path.name: files.file_digest(path) for path in sorted(tmp_path.glob(pattern))
        }


def test_rows_are_counted_for_each_file(tmp_path):
    files.write_jsonl(tmp_path / "a.jsonl", [{"question": "?", "answer": "x"}, {"question": "!"}])
    files.write_jsonl(
        tmp_path / "b.jsonl", [{"question": f"{n}?", "answer": "x"} for n in range(5)]
    )
    (tmp_path / "c.jsonl").write_text("")
    refused = RefusedRows(None)
    refused.refuse(tmp_path / "a.jsonl", 9, "of another source", {})

    def figures(**settings):
        config = SourceConfig("set", "*.jsonl", "columns", **settings)
        source, questions = survey_source(
            config, SurveySettings(str(tmp_path)), refused, tmp_path / "work"
        )
        read = {file: tuple(counts.values()) for file, counts in source.by_file.items()}
        return source, questions, [read[str(tmp_path / f"{name}.jsonl")] for name in "abc"]

    reasons = {"no column 'answer'; the columns are question": 1}
    source, questions, by_file = figures()
    assert by_file == [(2, 1, reasons), (5, 5, {}), (0, 0, {})]
    assert (source.samples, source.refused) == (6, 1)
    tested = Questions()
    tested.add("test", RowLocation("t", 1), from_row({"id": "1", "question": "0?", "answer": "x"}))
    (shared,) = questions.also_in(tested)
    assert shared.places == ((RowLocation(str(tmp_path / "b.jsonl"), 1), RowLocation("t", 1)),)
    source, _, by_file = figures(limit=3)
    assert by_file == [(2, 1, reasons), (2, 2, {}), (0, 0, {})]
    source, _, by_file = figures(limit=3, limit_by="seed")
    assert [read for read, _, _ in by_file] == [2, 5, 0]
    assert sum(used for _, used, _ in by_file) == source.samples == 3
    assert source.refused == 1


def test_a_source_is_unchanged_by_a_round_trip_through_json(tmp_path):
    write_table(tmp_path / "a.parquet", 30)
    for settings in ({}, {"limit": 7}, {"limit": 7, "limit_by": "seed"}):
        config = SourceConfig("set", "a.parquet", "columns", **settings)
        refused, scratch = RefusedRows(None), tmp_path / "scratch"
        source, _ = survey_source(config, SurveySettings(str(tmp_path), seed=5), refused, scratch)
        value = json.loads(json.dumps(source.to_json()))
        loaded = SurveyedSource.from_json(config, tmp_path / "scratch", value)
        assert list(loaded.read()) == list(source.read())
        assert loaded.identity == source.identity  # part of the names of tasks


def test_a_source_is_unchanged_by_pickling(tmp_path):
    write_table(tmp_path / "a.parquet", 30)
    config = SourceConfig("set", "a.parquet", "columns", limit=7, limit_by="seed")
    refused, scratch = RefusedRows(None), tmp_path / "scratch"
    source, _ = survey_source(config, SurveySettings(str(tmp_path), seed=5), refused, scratch)
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy.read()) == list(source.read())
    assert copy.identity == source.identity  # part of the names of tasks


def test_sources_in_a_bucket_are_read(tmp_path, bucket):
    write_table(tmp_path / "a.parquet", 3)
    objects.upload(tmp_path / "a.parquet", f"{bucket}/a.parquet")
    objects.put(f"{bucket}/a.jsonl.gz", gzip.compress(b'{"question": "?", "answer": "x"}\n'))
    assert len(read(f"{bucket}/a.parquet", format="columns")) == 3
    assert read(f"{bucket}/a.jsonl.gz") == [
        ((f"{bucket}/a.jsonl.gz", 1), {"question": "?", "answer": "x"})
    ]
    with pytest.raises(UserError, match=f"{bucket}/b.jsonl: no such file"):
        files.file_digest(f"{bucket}/b.jsonl")
