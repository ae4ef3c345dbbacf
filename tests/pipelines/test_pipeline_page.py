"""The example of docs/how-to/run-a-pipeline.md, as the page has it."""

import re
from pathlib import Path

import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.storage import files

PAGE = Path(__file__).parents[2] / "docs/how-to/run-a-pipeline.md"
MINE = """
from teacherlm_jax import config

SOURCE = config.SourceConfig("rows", "data/rows.jsonl")

def get_config(variant):
    if variant == "data":
        return config.PrepareConfig(
            output="runs/mine/data", sources=(SOURCE,),
            mixtures=(config.MixtureConfig("student", forms=("text",)),),
            vocabulary=config.VocabularyConfig("runs/mine/vocabulary", size=400),
        )
    if variant == "student":
        return config.TrainConfig(output="runs/mine/student", data="runs/mine/data/student")
    return config.EvaluateConfig(
        output="runs/mine/evaluate", model="runs/mine/student",
        benchmarks=(config.BenchmarkConfig("test", "data/test.jsonl"),),
    )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files of the page."""
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "pipeline_mine.py").write_text(example)
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands():
    """Return the words of the page's commands with its example."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if "--config=pipeline_mine.py" in words]


def test_the_commands_that_show_the_example_work(folder, capsys):
    shown = {}
    for words in commands():
        if len(words) > 2:  # not the one that runs it
            assert main(words) == 0, words
            shown[words[-1]] = capsys.readouterr().out
    assert list(shown) == ["--validate", "--status", "--graph=text", "--graph=graph.svg",
                           "--dry_run"]  # fmt: skip
    assert shown["--graph=text"] == "data\n`-- student\n    `-- evaluate\n"
    assert [line.split()[:2] for line in shown["--status"].splitlines()] == [
        ["-", "data"], ["-", "student"], ["-", "evaluate"],
    ]  # fmt: skip
    assert "$ teacherlm train --config=mine.py:student" in shown["--dry_run"]
    assert "  data/rows.jsonl\n  data/test.jsonl\n" in shown["--dry_run"]
    assert not (folder / "runs").exists()


def test_the_run_is_refused_before_its_first_step_if_an_input_is_missing(folder, capsys):
    assert main(commands()[-1]) == 2
    message = "data/rows.jsonl: no such file or folder, and the step 'data' reads it; also missing"
    assert message in capsys.readouterr().err
    files.write_jsonl("data/rows.jsonl", [{"question": "Is it?", "answer": "Yes"}])
    assert main(["pipeline", "--config=pipeline_mine.py", "--status"]) == 0
