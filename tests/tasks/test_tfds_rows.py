"""Rows that TensorFlow reads: names of class labels, and files with misleading names."""

import gzip

import pytest
import tensorflow as tf

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading as formats
from teacherlm_jax.sources.raw_rows import open_rows
from teacherlm_jax.storage.refused_rows import RefusedRows


def read(path, **settings):
    return [row for _, row in open_rows(SourceConfig("set", str(path), **settings), "").read()]


def test_class_labels_have_names_also_inside_lists_and_objects(builder):
    first, second, unknown = read(builder)
    assert [row["label"].name for row in (first, second, unknown)] == ["negative", "positive", ""]
    assert [row["label"] for row in (first, second, unknown)] == [0, 1, -1]
    assert [vote.name for vote in first["votes"]] == ["positive", "negative"]
    assert first["parts"]["grade"][0].name == "positive"
    assert first["judged"]["as"].name == "negative"
    assert not isinstance(first["question"], Label)


def test_answers_are_the_names_of_class_labels(builder):
    config = SourceConfig("toy", str(builder), "columns", columns=ColumnsConfig(answer="label"))
    refused = RefusedRows(None)
    reading = formats.SourceReading(config, "")
    assert [sample.answer for _, sample in reading.first(refused)] == ["negative", "positive"]
    assert dict(refused.counts) == {"column 'label' contains a class number without a name": 1}


def test_the_error_for_a_missing_version_names_the_existing_ones(builder):
    with pytest.raises(UserError, match=rf"toy contains 1.0.0, .*; set the path to {builder}$"):
        read(builder.parent)
    with pytest.raises(
        UserError, match=rf"dataset_info.json: no such file; .* dataset, {builder}$"
    ):
        read(builder.parent, reader="tfds")


@pytest.mark.parametrize("split", ["train[:5", "train[7:2]", "train[:x]", "test"])
def test_the_error_for_an_unknown_split_is_one_line(builder, split):
    with pytest.raises(UserError) as raised:
        read(builder, split=split)
    assert str(raised.value).startswith(f"{builder}: cannot read split={split!r}: ")
    assert "\n" not in str(raised.value) and "\\n" not in str(raised.value)


def record(length):
    """Return a serialized Example of `length` bytes."""
    text = b"x" * (length - 26)
    features = {"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))}
    content = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    assert len(content) == length
    return content


def write_record(path, content):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(content)


def test_compression_is_detected_from_the_content_and_not_the_name(tmp_path):
    write_record(tmp_path / "plain.tfrecord.gz", record(0x8B1F))  # its length looks like gzip
    compressed = gzip.compress((tmp_path / "plain.tfrecord.gz").read_bytes())
    (tmp_path / "compressed.tfrecord-00000-of-00001").write_bytes(compressed)
    for path in tmp_path.iterdir():
        assert [len(row["text"]) for row in read(path)] == [0x8B1F - 26]
    assert (tmp_path / "plain.tfrecord.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz"])
def test_an_empty_file_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"{name}: empty file; remove it, or copy"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"no records at all, but text", gzip.compress(b"text" * 9, mtime=0)]
)
def test_the_error_for_a_file_that_is_not_a_tfrecord_is_one_plain_line(tmp_path, content):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: damaged, truncated or not readable: ")
    assert not any(internal in message for internal in ("{{", "[Op:", "\n"))
