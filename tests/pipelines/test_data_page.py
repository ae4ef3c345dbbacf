"""The example of docs/how-to/prepare-your-data.md, run as the page has it."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm_jax.cli import main
from teacherlm_jax.storage import files

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "prepare-your-data.md"


def _example() -> str:
    """Return the page's example of a config."""
    block = re.search(r"<!-- example -->\n```python\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    return block[1]


def test_the_example_prepares_data_of_other_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["red", "green", "blue", "grey", "brown", "black", "white", "pink"]
    rows = [
        {
            "prompt": f"Which colour stands first of {first} and {second}?",
            "choices": [first, second],
            "label": 0,
            "rationale": f"{first} stands before {second}, so it is {first}.",
        }
        for first in words
        for second in words
        if first != second
    ]
    for part in (0, 1):
        pq.write_table(pa.Table.from_pylist(rows[part::2]), f"mine-{part}.parquet")
    config = _example().replace("size=8000", "size=400")
    assert len([line for line in config.splitlines() if line.strip()]) <= 13  # ten of config
    Path("mine.py").write_text(config, encoding="utf-8")
    assert main.main(["prepare", "--config=mine.py", "--check_only"]) == 0
    assert main.main(["prepare", "--config=mine.py"]) == 0
    manifest = files.read_json("runs/mine/teacher/manifest.json")
    assert manifest["texts"] == len(rows)
    counted = manifest["statistics"]["tokens_by_field"]["cot"]["human"]["count"]
    assert counted == len(rows)
    assert main.main(["report", "--data=runs/mine"]) == 0
    assert os.path.exists("runs/mine.report/report.html")
