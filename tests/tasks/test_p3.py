"""P3's files in their published format, read by the sources of the P3 table."""

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig, PrepareConfig, VocabularyConfig
from teacherlm_jax.sources import p3
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.prepare import prepare
from tests.make_run import make_run

CHOICE, FREE = "ag_news_classify", "ag_news_recommend"


def write_task(folder, rows, shards=1):
    """Write the folder of a P3 task: TFRecords of tf.train.Example, and the files beside them."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        name = f"train.tfrecord-{shard:05d}-of-{shards:05d}"
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for row in rows[shard::shards]:
                writer.write(example(**row).SerializeToString())
    (folder / "info.train.json").write_text(json.dumps({"num_shards": shards, "seqio_version": ""}))
    (folder / "stats.train.json").write_text(json.dumps({"examples": len(rows)}))
    (folder / "COMPLETED").touch()


def example(inputs, targets, choices=()):
    def of_bytes(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))

    def of_ints(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    features = {
        "inputs": of_ints([3, 4, 1]),
        "inputs_pretokenized": of_bytes([inputs]),
        "targets": of_ints([5, 1]),
        "targets_pretokenized": of_bytes([targets]),
    }
    if choices:
        features["answer_choices"] = of_bytes(choices)
    return tf.train.Example(features=tf.train.Features(feature=features))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A P3 folder with all tasks of AG News: one with choices, the others with free answers."""
    folder = tmp_path_factory.mktemp("P3")
    topics = ["World", "Sports"]
    for task in p3.tasks("ag_news"):
        rows = [{"inputs": f"Report {n}\n", "targets": f"\n{n}"} for n in range(3)]
        if task == CHOICE:
            rows = [
                {"inputs": f"Report {n}", "targets": topics[n % 2], "choices": topics}
                for n in range(6)
            ]
            rows.append({"inputs": "Report 6", "targets": "Weather", "choices": topics})
        write_task(folder / "data" / task, rows, shards=2 if task == CHOICE else 1)
    return folder


def read(root, layout="tfrecord", vocabulary=None, **settings):
    """Return the samples of the task with choices, and the refused rows by reason."""
    named = {source.name: source for source in p3.sources(["ag_news"], layout)}
    config = dataclasses.replace(named[CHOICE], **settings)
    reading = SourceReading(config, str(root), seed=0)
    refused = RefusedRows(None)
    samples = [sample for _, sample in reading.first(refused, vocabulary=vocabulary)]
    return samples, dict(refused.counts)


def config_of(root, output, vocabulary, **settings):
    vocabulary.save(output / "vocabulary")
    values = {
        "output": str(output / "prepared"),
        "root": str(root),
        "sources": p3.sources(["ag_news"]),
        "mixtures": (MixtureConfig("mix"),),
        "vocabulary": VocabularyConfig(str(output / "vocabulary")),
        "length": 64,
    }
    return PrepareConfig(**values | settings)


def do(config):
    return prepare(config, make_run(config.output))


def test_the_rows_of_a_task_become_samples(published, vocabulary):
    samples, refused = read(published, vocabulary=vocabulary)
    answers = {sample.question: sample.answer for sample in samples}
    assert answers == {f"Report {n}": "(A)" if n % 2 == 0 else "(B)" for n in range(6)}
    assert {sample.options for sample in samples} == {("World", "Sports")}
    assert {sample.source for sample in samples} == {CHOICE}
    assert len({sample.id for sample in samples}) == 6
    assert refused == {"the target is not one of the answer choices": 1}


def test_a_limit_draws_the_same_rows_from_all_shards_each_time(published, vocabulary):
    drawn = [sample.id for sample in read(published, vocabulary=vocabulary, limit=3)[0]]
    assert len(drawn) == 3
    assert drawn == [sample.id for sample in read(published, vocabulary=vocabulary, limit=3)[0]]
    first = [sample.id for sample in read(published, vocabulary=vocabulary)[0]][:3]
    assert set(drawn) != set(first)


def test_rows_longer_than_max_tokens_are_refused(tmp_path, vocabulary):
    choices = ["World", "Sports"]
    rows = [
        {"inputs": "Rain " * size, "targets": "World", "choices": choices} for size in (1, 2000)
    ]
    write_task(tmp_path / "data" / CHOICE, rows)
    samples, refused = read(tmp_path, vocabulary=vocabulary)
    assert [sample.question for sample in samples] == ["Rain"]
    assert refused == {"longer than 1200 tokens": 1}


def test_the_parquet_layout_is_read_too(tmp_path, vocabulary):
    table = {
        "inputs_pretokenized": ["Report 0", "Report 1"],
        "targets_pretokenized": ["World", "Sports"],
        "answer_choices": [["World", "Sports"]] * 2,
        "inputs": [[3, 4, 1]] * 2,
    }
    (tmp_path / CHOICE).mkdir()
    pq.write_table(pa.table(table), tmp_path / CHOICE / "train-00000-of-00001.parquet")
    samples, refused = read(tmp_path, layout="parquet", vocabulary=vocabulary)
    assert [(sample.question, sample.answer) for sample in samples] == [
        ("Report 0", "(A)"),
        ("Report 1", "(B)"),
    ]
    assert not refused


def test_every_task_is_prepared_and_counted(published, vocabulary, tmp_path):
    result = do(config_of(published, tmp_path, vocabulary))
    manifest = files.read_json(tmp_path / "prepared" / "mix" / "manifest.json")
    texts = {task: counts["texts"] for task, counts in manifest["tasks"].items()}
    assert texts.pop(f"{CHOICE}/text") == 6
    assert set(texts.values()) == {3} and len(texts) == 6
    assert result["refused"] == {"the target is not one of the answer choices": 1}


def test_a_check_counts_the_samples_of_each_task(published, vocabulary, tmp_path):
    config = config_of(published, tmp_path, vocabulary, check_only=True)
    do(config)
    sources = files.read_json(Path(config.output) / "check.json")["survey"]["sources"]
    used = {task: sum(file["used"] for file in by.values()) for task, by in sources.items()}
    assert used == {task: 6 if task == CHOICE else 3 for task in p3.tasks("ag_news")}
    assert not (tmp_path / "prepared" / "mix").exists()
