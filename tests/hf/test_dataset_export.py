"""Datasets of finished `annotate` runs, read by the packages that people read them with."""

import json
import re

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from teacherlm_jax.annotation.explained_rows import annotated
from teacherlm_jax.data.sample import from_row, to_row
from teacherlm_jax.hf import dataset_card, dataset_rows, dataset_schema
from teacherlm_jax.storage import files, objects
from tests.hf.explained_run import explanation, mixed_samples, write_run
from tests.hf.folders import fetched

MESSAGES = "--config.dataset.rows=messages"


@pytest.fixture
def run(tmp_path):
    """A run of five mixed samples in three files."""
    return write_run(tmp_path / "run")


@pytest.fixture
def load(tmp_path):
    """A function that calls `load_dataset` with an empty cache, and returns the rows."""

    def call(*arguments, **settings):
        cache = tmp_path / "cache" / str(len(list(tmp_path.glob("cache/*"))))
        return datasets.load_dataset(
            *map(str, arguments), split="train", cache_dir=str(cache), **settings
        )

    return call


def plain(value):
    """Return a value of pandas as JSON: lists in place of arrays, None in place of NaN."""
    if isinstance(value, (list, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, float) and value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("more", [(), (MESSAGES,)], ids=["samples", "messages"])
def test_both_formats_have_the_same_rows_in_datasets_and_in_pandas(
    run, convert, load, tmp_path, more
):
    parts = "--config.dataset.rows_per_file=2"
    for format in ("parquet", "jsonl"):
        key = f"--config.dataset.format={format}"
        assert convert(run, tmp_path / format, key, parts, *more) == (0, ""), format
    parquet, jsonl = load(tmp_path / "parquet"), load(tmp_path / "jsonl")
    assert parquet.features == jsonl.features
    rows = list(parquet)
    assert rows == list(jsonl)
    assert rows == list(load("parquet", data_files=f"{tmp_path}/parquet/*.parquet"))
    by_type = load("json", data_files=f"{tmp_path}/jsonl/*.jsonl", features=parquet.features)
    assert rows == list(by_type)
    tables = [pd.read_parquet(path) for path in sorted((tmp_path / "parquet").glob("*.parquet"))]
    assert len(tables) > 1
    assert plain(pd.concat(tables).to_dict("records")) == rows
    tables = [
        pd.read_json(path, lines=True, dtype=False, precise_float=True)
        for path in sorted((tmp_path / "jsonl").glob("*.jsonl"))
    ]
    assert plain(pd.concat(tables).to_dict("records")) == rows


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_every_file_and_row_has_the_same_columns(run, convert, tmp_path, format):
    key = f"--config.dataset.format={format}"
    assert convert(run, tmp_path / "out", key, "--config.dataset.rows_per_file=1") == (0, "")
    paths = sorted((tmp_path / "out").glob(f"train-*-of-00005.{format}"))
    assert len(paths) == 5
    if format == "parquet":
        assert len({str(pq.read_schema(path)) for path in paths}) == 1
        return

    rows = [json.loads(path.read_text()) for path in paths]
    for row in rows:
        assert list(row) == list(rows[0])
        for kind, texts in row["explanations"].items():
            assert list(texts) == list(rows[0]["explanations"][kind])


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_an_exported_dataset_gives_prepare_the_samples_of_the_run(run, convert, tmp_path, format):
    assert convert(run, tmp_path / "out", f"--config.dataset.format={format}") == (0, "")
    (path,) = (tmp_path / "out").glob("train-*")
    rows = (
        pq.read_table(path).to_pylist()
        if format == "parquet"
        else [row for _, row in files.read_jsonl(path)]
    )
    written = [
        from_row(row)
        for part in sorted((run / "samples").iterdir())
        for _, row in files.read_jsonl(part)
    ]
    for sample, row in zip(written, rows, strict=True):
        again = from_row(row)
        texts = {kind: dict(by) for kind, by in sample.explanations.items() if by}
        assert {kind: dict(by) for kind, by in again.explanations.items() if by} == texts
        for kind, note in sample.annotations.items():
            present = {key: v for key, v in again.annotations[kind].items() if v is not None}
            assert present == dict(note)
        both = [
            {key: value for key, value in to_row(each).items() if key[0] not in "ae"} | {
                "answer": each.answer
            }
            for each in (sample, again)
        ]  # fmt: skip
        assert both[0] == both[1]


def test_messages_have_one_row_per_explanation_in_the_words_of_training_texts(
    run, convert, load, tmp_path
):
    assert convert(run, tmp_path / "out", MESSAGES) == (0, "")
    rows = list(load(tmp_path / "out"))
    assert [(row["id"], row["form"]) for row in rows] == [
        (id, form) for id in "abcde" for form in "CF"
    ]
    assert rows[4]["messages"] == [
        {"role": "user", "content": "A mammal? (A) trout (B) whale"},
        {
            "role": "assistant",
            "content": "The answer is (B). Let's think step by step. The cot of c.",
        },
    ]
    assert rows[1]["messages"][1]["content"] == (
        "4 The fundamental of this question is: The fundamental of a."
    )


def test_messages_in_a_form_leave_out_what_failed_and_the_card_counts_it(
    run, convert, load, tmp_path
):
    keys = (MESSAGES, '--config.dataset.forms=("FC",)', "--config.dataset.checked_only=True")
    status, message = convert(run, tmp_path / "out", *keys)
    assert status == 2
    assert "expected one of 'text', 'C', 'M', 'F', 'CM', 'CMF', 'FCM', 'shuffle'" in message
    keys = (MESSAGES, '--config.dataset.forms=("C","F")', "--config.dataset.checked_only=True")
    assert convert(run, tmp_path / "out", *keys) == (0, "")
    rows = list(load(tmp_path / "out"))
    assert ("b", "C") not in {(row["id"], row["form"]) for row in rows}
    assert len(rows) == 9
    assert "- rows left out (no cot by teacher): 1\n" in (tmp_path / "out/README.md").read_text()


def test_the_rows_of_samples_lose_failed_explanations_and_annotations_if_asked(
    run, convert, load, tmp_path
):
    keys = ("--config.dataset.checked_only=True", "--config.dataset.annotations=False")
    assert convert(run, tmp_path / "out", *keys) == (0, "")
    rows = load(tmp_path / "out")
    assert "annotations" not in rows.column_names
    texts = [row["explanations"]["cot"]["teacher"] for row in rows]
    assert texts == ["The cot of a.", None, *(f"The cot of {id}." for id in "cde")]


def test_the_card_has_metadata_provenance_and_counts(run, convert, tmp_path):
    assert convert(run, tmp_path / "out", "--config.dataset.language=de") == (0, "")
    text = (tmp_path / "out/README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert header.startswith("# license: TODO, one of https://")
    metadata = yaml.safe_load(header)
    assert (metadata["language"], metadata["size_categories"]) == (["de"], ["n<1K"])
    assert "TODO: name the license" in body
    for line in (
        f"rows = datasets.load_dataset('{tmp_path}/out', split='train')",
        "- 5 rows from 5 explained samples",
        "- 3 rows of the source could not be used",
        "| `cot` | runs/cot | 500 | `sha256:0123` | 5 | 23.0 |",
        "- version of the prompts: 1",
        "| `finished` | 4 of 5 (80.0%) | 5 of 5 (100.0%) |",
        "| all gates | 4 of 5 (80.0%) | 5 of 5 (100.0%) |",
    ):
        assert f"{line}\n" in body
    (sampling,) = re.findall("^- sampling: (.+)$", body, re.MULTILINE)
    assert {"temperature 0.7", "max_new_tokens 512", "seed 0"} <= set(sampling.split(", "))
    assert "[]" not in sampling


def test_a_license_replaces_the_lines_to_fill_in(run, convert, tmp_path):
    assert convert(run, tmp_path / "out", "--config.dataset.license=cc-by-4.0") == (0, "")
    text = (tmp_path / "out/README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "cc-by-4.0"
    assert "TODO" not in text


def test_the_line_of_the_card_loads_the_dataset(run, convert, tmp_path, monkeypatch):
    assert convert(run, tmp_path / "out") == (0, "")
    code = re.search(r"```python\n(.+?)```", (tmp_path / "out/README.md").read_text(), re.DOTALL)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = {}
    exec(code[1], names)
    assert names["rows"].num_rows == 5


@pytest.mark.parametrize(
    ("rows", "category"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (1_400_000, "1M<n<10M"), (10**9, "n>1B")],
)
def test_size_categories_are_those_of_the_hub(rows, category):
    assert dataset_card.size_category(rows) == category


def test_types_are_collected_over_all_batches():
    union = dataset_schema.SchemaUnion(pa.schema([("id", pa.string())]))
    for row in ({"a": None}, {"a": 1, "b": {}}, {"a": 0.5, "b": {"x": []}}, {"c": None}):
        union.add([row])
    assert union.schema() == pa.schema(
        [
            *(("id", pa.string()), ("a", pa.float64())),
            ("b", pa.struct([("x", pa.list_(pa.string()))])),
            ("c", pa.string()),
        ]
    )


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_rows_are_streamed(run, tmp_path, convert, monkeypatch, format):
    """A batch is written before the samples of the next one are read."""
    events = []
    read, batched = dataset_rows.from_row, dataset_schema.rows_of

    def from_row(row):
        events.append(row["id"])
        return read(row)

    def rows_of(batch, schema):
        events.append(len(batch))
        return batched(batch, schema)

    monkeypatch.setattr(dataset_schema, "BATCH", 2)
    monkeypatch.setattr(dataset_rows, "from_row", from_row)
    monkeypatch.setattr(dataset_schema, "rows_of", rows_of)
    assert convert(run, tmp_path / "out", f"--config.dataset.format={format}") == (0, "")
    assert events == [*"abcde", "a", "b", 2, "c", "d", 2, "e", 1]


def test_an_unfinished_run_is_refused_and_exported_once_it_has_finished(run, convert, tmp_path):
    result = (run / "result.json").read_bytes()
    (run / "result.json").unlink()
    status, message = convert(run, tmp_path / "out")
    assert status == 2
    assert "has not finished, because it has no result.json; repeat its command" in message
    (run / "result.json").write_bytes(result)
    assert convert(run, tmp_path / "out") == (0, "")


def test_a_damaged_run_is_refused_with_file_and_line(run, convert, tmp_path):
    part = run / "samples/part-00001.jsonl"
    content = part.read_text()
    part.write_text(content[:-9])
    status, message = convert(run, tmp_path / "out")
    assert (status, (tmp_path / "out").exists()) == (2, False)
    assert f"{part}:2: not JSON: " in message
    assert "; restore the file, or remove it and repeat the `annotate` command" in message
    part.unlink()
    status, message = convert(run, tmp_path / "out")
    assert "samples: 3 samples, but result.json of the run says 5; copy the run again" in message
    part.write_text(content)
    assert convert(run, tmp_path / "out") == (0, "")


def test_annotations_of_different_types_are_refused_and_can_be_left_out(convert, tmp_path):
    samples = mixed_samples()
    samples[3].annotations["mistake"]["score"] = "high"
    run = write_run(tmp_path / "run", samples)
    status, message = convert(run, tmp_path / "out")
    assert status == 2
    key = re.search(r"values of different types under one key .*; set (\S+)", message)[1]
    assert convert(run, tmp_path / "out", key) == (0, "")


def test_a_dataset_without_rows_is_refused_with_the_counted_reason(run, convert, tmp_path):
    keys = (MESSAGES, '--config.dataset.forms=("M",)')
    status, message = convert(run, tmp_path / "out", *keys)
    assert (status, (tmp_path / "out").exists()) == (2, False)
    assert "would have no rows (5 samples with no mistake by teacher); choose other" in message
    assert (
        "set config.dataset.checked_only=False, or"
        in convert(*(run, tmp_path / "out", *keys, "--config.dataset.checked_only=True"))[1]
    )
    assert convert(run, tmp_path / "out", MESSAGES, '--config.dataset.forms=("CM","F")') == (0, "")


def test_forms_are_for_messages(run, convert, tmp_path):
    form = '--config.dataset.forms=("C",)'
    status, message = convert(run, tmp_path / "out", form)
    assert status == 2
    assert "config.dataset.forms: set, but rows='sample' has no forms; set rows='messages'" in (
        message
    )
    assert convert(run, tmp_path / "out", form, MESSAGES) == (0, "")


@pytest.mark.parametrize("key", ["dtype=float32", "shard_megabytes=7", "mesh.fsdp=2"])
def test_keys_for_models_are_refused_for_a_dataset(run, convert, tmp_path, key):
    status, message = convert(run, tmp_path / "out", f"--config.{key}")
    assert (status, (tmp_path / "out").exists()) == (2, False)
    assert f"config.{re.split('[.=]', key)[0]}=" in message
    assert "this key is for models; remove the key" in message


def test_keys_for_datasets_are_refused_for_a_model(convert, tmp_path):
    (tmp_path / "model").mkdir()
    status, message = convert(tmp_path / "model", tmp_path / "out", MESSAGES)
    assert status == 2
    assert f"config.dataset.rows=messages: {tmp_path}/model is not an `annotate` run" in message


def test_an_existing_folder_is_not_replaced(run, convert, tmp_path):
    assert convert(run, tmp_path / "out") == (0, "")
    status, message = convert(run, tmp_path / "out")
    assert (status, "already exists; remove it, or name another folder" in message) == (2, True)
    assert convert(run, tmp_path / "other") == (0, "")


def test_a_run_in_a_bucket_becomes_a_dataset_in_the_bucket(run, convert, tmp_path, bucket):
    for path in run.rglob("*.json*"):
        objects.upload(path, f"{bucket}/run/{path.relative_to(run)}")
    for output in (f"{bucket}/out", tmp_path / "out"):
        assert convert(f"{bucket}/run", output, "--config.dataset.rows_per_file=3") == (0, "")
    copy = fetched(f"{bucket}/out", tmp_path / "copy")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 3
    assert sorted(path.name for path in copy.iterdir()) == names
    card = (copy / "README.md").read_text()
    assert (
        "rows = datasets.load_dataset('out', split='train')  # after: gcloud storage cp "
        f"--recursive {bucket}/out .\n"
    ) in card
    for name in names[1:]:
        assert (copy / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_run_without_gates_says_so_in_its_card_and_is_read_by_prepare(convert, tmp_path):
    sample = mixed_samples()[0]
    run = write_run(tmp_path / "run", [sample])
    row = annotated(sample, {"cot": explanation(sample, "cot", "Add.", gates={})})
    files.write_jsonl(run / "samples/part-00000.jsonl", [row])
    result = files.read_json(run / "result.json")
    del result["kinds"]["fundamental"]
    result["kinds"]["cot"] |= {"gates": {}, "passed_all_gates": None}
    files.write_json(run / "result.json", result)
    assert convert(run, tmp_path / "out") == (0, "")
    assert (
        "No gate was configured, so no explanation was checked."
        in (tmp_path / "out/README.md").read_text()
    )
    (path,) = (tmp_path / "out").glob("*.parquet")
    assert from_row(pq.read_table(path).to_pylist()[0]).annotations["cot"]["gates"] == {}
