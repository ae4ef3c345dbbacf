"""A command that is refused before its work begins leaves no run folder behind."""

import fcntl

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files

COMMANDS = {
    "train": 'TrainConfig(output={output!r}, data="missing")',
    "evaluate": """EvaluateConfig(
        output={output!r}, model="missing", benchmarks=(BenchmarkConfig("creak", "creak.jsonl"),)
    )""",
    "prepare": """PrepareConfig(
        output={output!r},
        root=".",
        sources=(SourceConfig("a", "missing.jsonl"),),
        mixtures=(MixtureConfig("mix", forms=("text",)),),
        vocabulary=VocabularyConfig({output!r} + "/vocabulary", size=600),
    )""",
}
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return {config}
"""


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Return a function that runs a verb whose input is missing, and checks the message."""
    monkeypatch.chdir(tmp_path)

    def run(verb, output):
        path = tmp_path / f"{verb}.py"
        path.write_text(CONFIG.format(config=COMMANDS[verb].format(output=str(output))))
        assert main.main([verb, f"--config={path}"]) == 2
        assert "missing" in capsys.readouterr().err
        path.unlink()

    return run


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_command_with_a_missing_input_leaves_nothing_on_disk(refused, tmp_path, verb):
    refused(verb, tmp_path / "runs/mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_folder_that_existed_before_stays_with_its_files(refused, tmp_path, verb):
    (tmp_path / "run").mkdir()
    refused(verb, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    (tmp_path / "run/notes.txt").write_text("mine")
    refused(verb, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def opened(folder):
    config = TrainConfig(output=str(folder), data="d")
    return run_folder.open_run(config.output, "train", config)


def refuse(folder, *, error=UserError, work=lambda folder: None):
    """Open a run folder, do the work, and fail."""

    def fail():
        with opened(folder) as run:
            run.check_inputs({"data": "sha256:a"})
            work(run.path)
            raise error("no question")

    with pytest.raises(error):
        fail()


def test_empty_folders_are_removed_and_files_that_a_message_names_are_kept(tmp_path):
    def work(folder):
        (folder / "checkpoints").mkdir()
        (folder / "creak.refused.jsonl").write_text("{}\n")
        (folder / "check.json").write_text("{}")
        (folder / "overlaps.jsonl").write_text("{}\n")
        (folder / ".work").mkdir()
        (folder / ".work/chunk").write_text("of a worker")

    refuse(tmp_path / "run", work=work)
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert kept == {"creak.refused.jsonl", "check.json", "overlaps.jsonl", ".work"}


def test_all_files_of_a_run_whose_work_began_are_kept(tmp_path):
    refuse(tmp_path, work=lambda folder: files.write_json(folder / "checkpoints/1/meta", {}))
    kept = {path.name for path in tmp_path.iterdir()}
    recorded = {"config.json", "versions.json", "inputs.json", "log.txt", ".lock"}
    assert kept == recorded | {"checkpoints"}


def test_a_refused_command_removes_nothing_from_a_finished_run(tmp_path):
    with opened(tmp_path) as run:
        run.finish({"loss": 1.0})
    before = {path.name for path in tmp_path.iterdir()}
    refuse(tmp_path)
    assert before <= {path.name for path in tmp_path.iterdir()}


def test_a_crash_keeps_the_log_that_explains_it(tmp_path):
    refuse(tmp_path / "run", error=RuntimeError)
    assert "RuntimeError: no question" in (tmp_path / "run/log.txt").read_text()


def test_a_lock_file_that_was_removed_meanwhile_does_not_lock_the_folder(tmp_path, monkeypatch):
    take = fcntl.flock

    def removed_meanwhile(lock, operation):
        (tmp_path / ".lock").unlink()
        take(lock, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with pytest.raises(UserError, match="another process.* is using this folder"):
        opened(tmp_path)
