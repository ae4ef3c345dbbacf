"""Models that a run of `star` cannot start from, which is known before its first step."""

import subprocess
import sys

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
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
