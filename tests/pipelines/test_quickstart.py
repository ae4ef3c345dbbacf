"""The quickstart's own pipeline with a few steps of everything: real processes, real files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.status.run_status import read_status
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from tests import doc_blocks

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_device):
    """The folder of a finished tiny quickstart, and what it printed."""
    root = tmp_path_factory.mktemp("quickstart") / "runs"
    return root, quickstart(root, one_device)


def quickstart(root, environment):
    words = ["quickstart", f"--config=configs/quickstart.py:root={root},tiny"]
    completed = subprocess.run(
        [sys.executable, "-m", "teacherlm_jax", *words],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
    return completed.stdout


def test_every_step_writes_a_result_and_the_report_exists(finished):
    root, shown = finished
    steps = files.read_json(root / "config.json")["config"]["steps"]
    assert len(steps) == 18
    for step in steps:
        assert (Path(step["output"]) / "result.json").exists(), step["title"]
    assert str(root / "report/report.html") in shown
    assert "Samples from annotate" in shown
    assert shown.count("(synthetic/") == 3, "three annotated samples are printed"


def test_the_status_of_all_its_runs_is_known_from_their_files(finished):
    root, _ = finished
    whole = read_status(RunFiles(StoragePath(root)))
    assert whole.state.name == "finished" and not whole.faults
    assert len(whole.steps) == 18 and {step.state for step in whole.steps} == {"finished"}
    details = {step.name: step.detail for step in whole.steps}
    assert details["annotate"] == "36/36 explanations"
    assert re.fullmatch(r"step (\d+)/\1, loss [\d.]+", details["stage1"])
    assert re.fullmatch(r"(\d) of \1 mixtures", details["teacher_data"])
    assert re.fullmatch(r"accuracy [\d.]+%", details["evaluate_stage1"])
    trained = read_status(RunFiles(StoragePath(root) / "stage1")).progress.figures
    assert trained["checkpoints"] == [trained["steps"]] and trained["tokens_per_second"] > 0
    gates = read_status(RunFiles(StoragePath(root) / "annotate")).progress.figures["gates"]
    assert {kind: figures["count"] for kind, figures in gates.items()} == {
        "cot": 12,
        "fundamental": 12,
        "mistake": 12,
    }


def test_explanations_of_every_kind_are_written_and_checked(finished):
    root, _ = finished
    result = files.read_json(root / "annotate/result.json")
    assert result["rows"] == 12
    rows = [row for part in sorted((root / "annotate/samples").iterdir())
            for _, row in files.read_jsonl(part)]  # fmt: skip
    assert len(rows) == 12
    for row in rows:
        for kind in ("cot", "fundamental", "mistake"):
            assert set(row["annotations"][kind]["gates"]) == {"finished", "not_empty", "synthetic"}


def test_samples_to_explain_and_test_samples_have_no_explanations(finished):
    root, _ = finished
    questions = {}
    for split in ("train", "unlabelled", "test"):
        rows = [row for _, row in files.read_jsonl(root / f"samples/{split}.jsonl")]
        questions[split] = {row["question"] + str(row["options"]) for row in rows}
        assert all(bool(row.get("explanations")) == (split == "train") for row in rows)
    assert not questions["train"] & (questions["unlabelled"] | questions["test"])
    assert not questions["unlabelled"] & questions["test"]


def test_repeating_the_command_only_writes_the_report_again(finished, one_device):
    root, _ = finished
    before = (root / "stage2/result.json").stat().st_mtime_ns
    shown = quickstart(root, one_device)
    assert shown.count("finished before") == 17
    assert (root / "stage2/result.json").stat().st_mtime_ns == before


def program(place):
    """Return the Python program of a page that reads the quickstart's runs."""
    (block,) = [
        block.text
        for block in doc_blocks.blocks(place)
        if block.language == "python" and block.tested and '"runs/quickstart/' in block.text
    ]
    return block


def run_program(text, root, environment):
    completed = subprocess.run(
        [sys.executable, "-c", text.replace("runs/quickstart", str(root))],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr[-3000:]
    return completed.stdout.splitlines()


def test_the_ten_lines_of_the_readme_run_on_its_results(finished, one_device):
    text = program("README.md")
    assert len([line for line in text.splitlines() if line]) <= 10
    prediction, *texts = run_program(text, finished[0], one_device)
    assert prediction in ("True", "False")
    for kind in ("cot", "fundamental", "mistake"):
        assert any(line.startswith(f"{kind}: ") for line in texts)


@pytest.mark.parametrize("page", ["docs/reference/python-api.md", "docs/tutorial/quickstart.md"])
def test_the_programs_of_other_pages_run_on_its_results(page, finished, one_device):
    assert run_program(program(page), finished[0], one_device)
