"""Inputs of `star`: an original model of another shape, and inputs that have changed."""

import shutil
import subprocess
import sys

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import open_vocabulary, train_sentencepiece
from tests.blank_model import save_blank

FILE = """
from teacherlm_jax import config

def get_config(variant=""):
    source = config.SourceConfig
    return config.StarConfig(
        output="{folder}/runs/star",
        root="{folder}",
        explained=source("explained", "explained.jsonl"),
        author="program",
        questions=source("questions", "explained.jsonl"),
        test=source("test", "explained.jsonl"),
        rounds=1,
        init_from="{folder}/original",
        vocabulary=config.VocabularyConfig("{folder}/original/vocabulary"),
        model=config.ModelConfig(layers=1, width=16, heads=2),
    )
"""
# Of a process of its own: that of the tests has used its devices.
UNUSED = """
import sys
from jax._src import xla_bridge
from teacherlm_jax.cli import main
status = main.main(sys.argv[1:])
assert not xla_bridge.backends_are_initialized(), "the process holds devices that its steps need"
sys.exit(status)
"""


@pytest.fixture
def words(tmp_path):
    """Command line of a run whose model has the shape of the original one."""
    samples = list(synthetic.generate(6, 0, ("kinds", "months"), "train"))
    files.write_jsonl(tmp_path / "explained.jsonl", map(to_row, samples))

    texts = (sample.question for sample in samples)
    vocabulary = train_sentencepiece(texts, tmp_path / "vocabulary", 400, seed=0)
    save_blank(tmp_path / "original", vocabulary, {7: 0.5})
    (tmp_path / "star.py").write_text(FILE.format(folder=tmp_path))
    return ["star", f"--config={tmp_path}/star.py", "--until=samples"]


def test_a_model_of_another_shape_than_the_original_one_is_refused_at_once(words, tmp_path, capsys):
    assert main.main([*words, "--config.model.layers=2"]) == 2
    assert (
        f"config.init_from={tmp_path}/original: its layers is 1, but config.model.layers is 2; "
        "set config.model.layers=1" in capsys.readouterr().err
    )
    assert not (tmp_path / "runs").exists()
    assert main.main(words) == 0
    (tmp_path / "original").rename(tmp_path / "removed")
    assert main.main(words) == 0  # only the first command reads it


def test_comparing_the_shapes_uses_no_device(words):
    done = subprocess.run(
        [sys.executable, "-c", UNUSED, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_dataset_that_has_changed_is_refused_and_one_that_is_gone_is_not(words, tmp_path, capsys):
    assert main.main(words) == 0
    dataset = tmp_path / "explained.jsonl"
    original = dataset.read_text()
    dataset.write_text("".join(original.splitlines(keepends=True)[:-1]))
    assert main.main(words) == 2
    problem = capsys.readouterr().err
    assert f"{tmp_path}/runs/star: inputs changed since this run was started: " in problem
    for key in ("explained", "questions", "test"):
        assert f"config.{key}.path=explained.jsonl (digest sha256:" in problem
    dataset.unlink()
    assert main.main(words) == 0  # its first step has read it
    dataset.write_text(original)
    assert main.main([*words, "--config.rounds=2"]) == 0


def test_original_weights_that_have_changed_are_refused(words, tmp_path, capsys):
    assert main.main(words) == 0
    vocabulary = open_vocabulary(tmp_path / "original" / "vocabulary")
    shutil.rmtree(tmp_path / "original")
    save_blank(tmp_path / "original", vocabulary, {7: 0.25})
    assert main.main(words) == 2
    problem = capsys.readouterr().err
    assert f"config.init_from={tmp_path}/original (digest sha256:" in problem
    assert "config.explained" not in problem


def test_original_weights_that_are_damaged_are_not_taken_for_ones_that_are_gone(words, tmp_path):
    assert main.main(words) == 0
    shutil.rmtree(tmp_path / "original" / "checkpoints")
    assert main.main(words) == 2
    shutil.rmtree(tmp_path / "original")
    assert main.main(words) == 0
