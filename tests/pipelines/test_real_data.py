"""The commands of docs/tutorial/real-data.md, run as the page has them, on few rows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from teacherlm_jax.storage import files

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs/tutorial/real-data.md"


def commands():
    """Return the arguments of the `teacherlm` commands on the page, without its tiny trial."""
    lines = re.findall(r"^teacherlm (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines if not line.endswith(",tiny")]


@pytest.fixture(scope="module")
def root(tmp_path_factory, one_device, shared_data):
    """Folder with the runs of the page's commands, in their tiny variants."""
    folder = tmp_path_factory.mktemp("real") / "runs"
    for verb, config in commands():
        config = config.replace("$DATA", str(shared_data)) + f",root={folder},tiny"
        completed = subprocess.run(
            [sys.executable, "-m", "teacherlm_jax", verb, config],
            cwd=REPOSITORY, env=one_device, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert completed.returncode == 0, (
            f"{verb} {config}\n{completed.stdout[-2000:]}{completed.stderr[-2000:]}"
        )
    return folder


def test_the_page_contains_all_steps():
    assert [verb for verb, _ in commands()] == [
        "prepare", "train", "annotate", "prepare", "train", "evaluate", "evaluate", "report",
    ]  # fmt: skip


def test_both_models_are_evaluated_on_all_four_benchmarks(root):
    for model in ("teacher", "student"):
        benchmarks = files.read_json(root / f"evaluate_{model}/result.json")["benchmarks"]
        assert set(benchmarks) == {"creak", "ecqa", "strategyqa", "mmlu"}
        for measured in benchmarks.values():
            low, high = measured["interval"]
            assert measured["rows"] == 30
            assert low <= measured["accuracy"] <= high


def test_the_student_is_trained_on_the_teachers_explanations(root):
    explained = files.read_json(root / "annotate/result.json")["rows"]
    manifest = files.read_json(root / "student_data/student/manifest.json")
    assert 0 < manifest["texts"] <= explained == 20


def test_refused_rows_of_the_raw_files_are_counted(root):
    refused = files.read_json(root / "teacher_data/result.json")["refused"]
    manifest = files.read_json(root / "teacher_data/teacher/manifest.json")
    dropped = sum(count for reasons in manifest["drops"].values() for count in reasons.values())
    assert manifest["texts"] + dropped == 5 * 60
    assert sum(refused.values()) < 10
