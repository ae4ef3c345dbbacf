"""The export of a TFDS dataset on the page about evaluation, followed."""

import os
import re
from pathlib import Path

from teacherlm_jax.config import BenchmarkConfig, ColumnsConfig
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "evaluate.md"


def test_rows_of_tfds_are_a_benchmark_after_the_export_of_the_page(builder, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "builder_from_directory" in block]
    code = code.replace("data/tfds/mine/1.0.0", os.fspath(builder)).replace('"test"', '"train"')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    exec(code, {})
    rows = [row for _, row in files.read_jsonl(tmp_path / "data" / "mine.jsonl")]
    assert [row["label"] for row in rows] == [0, 1, -1]
    assert rows[0]["question"] == "Good?" and rows[0]["judged"] == {"as": 0, "by": "us"}
    columns = ColumnsConfig(options=("votes",), answer="label", answer_is="number")
    config = BenchmarkConfig("mine", "data/mine.jsonl", "columns", columns=columns)
    refused = RefusedRows(None)
    read = benchmarks.read(config, str(tmp_path), refused)
    assert [(question.context, question.gold) for question in read] == [
        ("Q: Good? (A) 1 (B) 0 A: The answer is (", 0),
        ("Q: Good? (A) 1 (B) 0 A: The answer is (", 1),
    ]
    assert refused.total == 1
