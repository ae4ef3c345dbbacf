"""MMLU in the layouts in which people have it, evaluated by the command."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.untrained import save_untrained

SUBJECTS = ("abstract_algebra", "virology")
LETTERS = "ABCD"


def row(subject, split, number):
    choices = [f"{split} {number}", 'a, "quoted"\nline', " spaced", "0.5"]
    question = f" What is {number} of {split}\nin {subject} "
    return {"question": question, "subject": subject, "choices": choices, "answer": number % 4}


ROWS = {
    split: [row(subject, split, number) for subject in SUBJECTS for number in range(count)]
    for split, count in (("test", 5), ("dev", 2))
}


def as_csv(folder):
    """Write hendrycks' folder: a file per subject and split, without a header."""
    for split, rows in ROWS.items():
        (folder / "data" / split).mkdir(parents=True)
        for subject in SUBJECTS:
            path = folder / "data" / split / f"{subject}_{split}.csv"
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                for item in rows:
                    if item["subject"] == subject:
                        letter = LETTERS[item["answer"]]
                        writer.writerow([item["question"], *item["choices"], letter])
    return {"path": "data/test", "shots_path": "data/dev"}


def _table(rows):
    """Return rows as `datasets` writes cais/mmlu: the answer is a class label."""
    label = {"names": list(LETTERS), "_type": "ClassLabel"}
    metadata = {"info": {"features": {"answer": label}}}
    schema = pa.schema(
        [
            ("question", pa.string()),
            ("subject", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("answer", pa.int64()),
        ],
        metadata={"huggingface": json.dumps(metadata)},
    )
    return pa.Table.from_pylist(rows, schema)


def as_parquet(folder):
    """Write the files of cais/mmlu on the Hub."""
    (folder / "all").mkdir()
    for split, rows in ROWS.items():
        pq.write_table(_table(rows), folder / "all" / f"{split}-00000-of-00001.parquet")
    return {"path": "all/test-*.parquet", "shots_path": "all/dev-*.parquet"}


def as_arrow(folder):
    """Write what `save_to_disk` of a DatasetDict writes."""
    for split, rows in ROWS.items():
        path = folder / "mmlu" / split / "data-00000-of-00001.arrow"
        path.parent.mkdir(parents=True)
        table = _table(rows)
        with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        state = {"_data_files": [{"filename": path.name}], "_split": split}
        files.write_json(path.parent / "state.json", state)
    files.write_json(folder / "mmlu" / "dataset_dict.json", {"splits": list(ROWS)})
    return {"path": "mmlu", "split": "test", "shots_split": "dev"}


def as_jsonl(folder):
    for split, rows in ROWS.items():
        files.write_jsonl(folder / f"{split}.jsonl", rows)
    return {"path": "test.jsonl", "shots_path": "dev.jsonl"}


LAYOUTS = {"csv": as_csv, "parquet": as_parquet, "arrow": as_arrow}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    texts = [item["question"] for item in ROWS["test"]]
    return save_untrained(folder, train_sentencepiece(texts * 9, folder / "v", size=400, seed=0))


def evaluated(folder, model, keys):
    """Evaluate with one shot; return the rows of the predictions without ids, and the result."""
    settings = {"format": "mmlu", "style": "authors", "shots": 1, **keys}
    (folder / "config.py").write_text(
        "from teacherlm_jax.config import *\n\n"
        "def get_config(variant):\n"
        f"    benchmark = BenchmarkConfig('mmlu', **{settings!r})\n"
        f"    return EvaluateConfig({str(folder / 'run')!r}, {str(folder)!r}, {str(model)!r},\n"
        "        (benchmark,))\n"
    )
    assert main(["evaluate", f"--config={folder / 'config.py'}"]) == 0
    rows = [item for _, item in files.read_jsonl(folder / "run" / "mmlu.predictions.jsonl")]
    for item in rows:
        del item["id"]
    return rows, files.read_json(folder / "run" / "result.json")["benchmarks"]["mmlu"]


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jsonl")
    return evaluated(folder, model, as_jsonl(folder))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_mmlu_gives_the_scores_of_the_same_rows_as_jsonl(
    tmp_path, model, expected, layout
):
    rows, result = evaluated(tmp_path, model, LAYOUTS[layout](tmp_path))
    assert len(rows) == 10 and rows == expected[0]
    assert result["by_category"].keys() == {"STEM", "other"}
    assert result["settings"]["shots"] == 1
    for key in ("accuracy", "refused", "by_subject", "bootstrap_interval"):
        assert result[key] == expected[1][key]


def test_the_authors_prompt_of_a_csv_row_keeps_its_outer_white_space(tmp_path):
    keys = as_csv(tmp_path)
    config = BenchmarkConfig("mmlu", keys["path"], "mmlu", style="authors")
    first = benchmarks.read(config, str(tmp_path), RefusedRows(None))[0]
    assert first.context == (
        "The following are multiple choice questions (with answers) about abstract algebra. "
        'Q:  What is 0 of test in abstract_algebra . (A) test 0 (B) a, "quoted" line '
        "(C)  spaced (D) 0.5 A: The answer is ("
    )


@pytest.mark.parametrize(
    "text",
    [
        "subject,answer,question,A,B,C,D\nphysics,B,Up?,a,b,c,d\n",
        '\ufeff"question","A","B","C","D","answer","subject"\r\n"Up?","a","b","c","d","B","physics"',
    ],
)
def test_the_header_of_a_csv_file_that_is_named_like_one_of_mmlu_is_used(tmp_path, text):
    (tmp_path / "mine_test.csv").write_text(text, encoding="utf-8", newline="")
    refused = RefusedRows(None)
    config = BenchmarkConfig("mmlu", "mine_test.csv", "mmlu")
    (question,) = benchmarks.read(config, str(tmp_path), refused)
    assert (question.asked, question.subject, question.gold) == ("Up?", "physics", 1)
    assert refused.total == 0


def test_a_folder_with_two_splits_of_csv_files_is_not_read(tmp_path):
    as_csv(tmp_path)
    for path in (tmp_path / "data" / "dev").iterdir():
        path.rename(tmp_path / "data" / "test" / path.name)
    config = BenchmarkConfig("mmlu", "data/test", "mmlu")
    with pytest.raises(UserError, match="contains .*expected .*only shards of one dataset"):
        benchmarks.read(config, str(tmp_path), RefusedRows(None))
    one = BenchmarkConfig("mmlu", "data/test/*_dev.csv", "mmlu")
    assert len(benchmarks.read(one, str(tmp_path), RefusedRows(None))) == 4


def test_a_folder_of_other_csv_files_is_not_read(tmp_path):
    for name in ("law.csv", "virology.csv"):
        (tmp_path / name).write_text("Up?,a,b,c,d,A\n")
    with pytest.raises(UserError, match="contains .*expected .*only shards of one dataset"):
        benchmarks.read(BenchmarkConfig("mmlu", "", "mmlu"), str(tmp_path), RefusedRows(None))
