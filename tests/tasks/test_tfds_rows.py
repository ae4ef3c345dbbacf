"""What only TensorFlow reads: class labels by name, and files that are not what they seem."""

import gzip

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.labels import Label
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading as formats
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.tfds_rows import open_rows


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """A data set as TFDS leaves it on disk: three rows with labels, on their own and inside."""
    label = tfds.features.ClassLabel(names=["negative", "positive"])
    features = tfds.features.FeaturesDict(
        {
            "question": tfds.features.Text(),
            "label": label,
            "votes": tfds.features.Sequence(label),
            "parts": tfds.features.Sequence({"grade": label, "text": tfds.features.Text()}),
            "judged": {"by": tfds.features.Text(), "as": label},
        }
    )
    folder = tmp_path_factory.mktemp("tfds") / "toy" / "1.0.0"
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="toy", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="toy"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=3)
    writer.initialize_splits(["train"])
    row = {
        "question": "Good?",
        "votes": [1, 0],
        "parts": [{"grade": 1, "text": "x"}],
        "judged": {"by": "us", "as": 0},
    }
    writer.add_examples({"train": [row | {"label": label} for label in (0, 1, -1)]})
    writer.close_all()
    return folder


def read(path, **settings):
    return [row for _, row in open_rows(SourceConfig("set", str(path), **settings), "").read()]


def test_labels_of_tfds_know_their_names_wherever_they_stand(builder):
    first, second, unknown = read(builder)
    assert [row["label"].name for row in (first, second, unknown)] == ["negative", "positive", ""]
    assert [row["label"] for row in (first, second, unknown)] == [0, 1, -1]
    assert [vote.name for vote in first["votes"]] == ["positive", "negative"]
    assert first["parts"]["grade"][0].name == "positive"
    assert first["judged"]["as"].name == "negative"
    assert not isinstance(first["question"], Label)


def test_labels_of_tfds_are_trained_on_by_their_names(builder):
    config = SourceConfig("toy", str(builder), "columns", columns=ColumnsConfig(answer="label"))
    refused = RefusedRows(None)
    reading = formats.SourceReading(config, "", open_rows=open_rows)
    assert [sample.answer for _, sample in reading.first(refused)] == ["negative", "positive"]
    assert dict(refused.counts) == {"column 'label' contains a class number without a name": 1}


def test_the_version_that_is_there_is_named(builder):
    with pytest.raises(UserError, match=rf"toy contains 1.0.0, .*; set the path to {builder}$"):
        read(builder.parent)
    with pytest.raises(UserError, match=rf"dataset_info.json: no such file; .* set, {builder}$"):
        read(builder.parent, reader="tfds")


@pytest.mark.parametrize("split", ["train[:5", "train[7:2]", "train[:x]", "test"])
def test_a_split_that_is_not_there_is_told_on_one_line(builder, split):
    with pytest.raises(UserError) as raised:
        read(builder, split=split)
    assert str(raised.value).startswith(f"{builder}: cannot read split={split!r}: ")
    assert "\n" not in str(raised.value) and "\\n" not in str(raised.value)


def record(length):
    """A TFRecord of one Example that is `length` bytes long."""
    text = b"x" * (length - 26)
    features = {"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))}
    made = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    assert len(made) == length
    return made


def write_record(path, content):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(content)


def test_what_is_packed_tells_its_first_bytes_and_not_its_name(tmp_path):
    write_record(tmp_path / "plain.tfrecord.gz", record(0x8B1F))  # begins as packed files do
    packed = gzip.compress((tmp_path / "plain.tfrecord.gz").read_bytes())
    (tmp_path / "packed.tfrecord-00000-of-00001").write_bytes(packed)
    for path in tmp_path.iterdir():
        assert [len(row["text"]) for row in read(path)] == [0x8B1F - 26]
    assert (tmp_path / "plain.tfrecord.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz"])
def test_an_empty_file_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"{name}: nothing is in it; remove the file, or copy"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"no records at all, but text", gzip.compress(b"text" * 9, mtime=0)]
)
def test_what_is_no_tfrecord_is_told_on_one_plain_line(tmp_path, content):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: damaged, cut short or not readable: ")
    assert not any(odd in said for odd in ("{{", "[Op:", "\n"))
