"""The programs of docs/how-to/prepare-your-data.md, run as the page has them."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm_jax.cli import main
from teacherlm_jax.storage import files
from tests import doc_blocks

PAGE = "docs/how-to/prepare-your-data.md"


def _block(begin: str) -> str:
    """Return the page's program that begins with a text."""
    (text,) = [block.text for block in doc_blocks.blocks(PAGE) if block.text.startswith(begin)]
    return text


def test_the_example_prepares_data_of_other_columns(tmp_path, monkeypatch, capsys):
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
    config = _block("# data_mine.py").replace("size=8000", "size=400")
    assert len([line for line in config.splitlines() if line.strip()]) <= 14  # ten of config
    Path("data_mine.py").write_text(config, encoding="utf-8")
    assert main.main(["prepare", "--config=data_mine.py", "--check_only"]) == 0
    assert main.main(["prepare", "--config=data_mine.py"]) == 0
    manifest = files.read_json("runs/mine/teacher/manifest.json")
    assert manifest["texts"] == len(rows)
    counted = manifest["statistics"]["tokens_by_field"]["cot"]["human"]["count"]
    assert counted == len(rows)
    exec(_block("from teacherlm_jax.data import prepared"), {})
    first, trained = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("Q: Which colour")
    assert trained.endswith(first[-20:])
    assert "Q:" not in trained
    assert main.main(["report", "--data=runs/mine"]) == 0
    assert os.path.exists("runs/mine.report/report.html")
