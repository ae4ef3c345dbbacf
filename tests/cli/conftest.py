"""Config files on disk, and commands that use them."""

import pytest

from teacherlm_jax.cli import flags, main
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.pipelines import verbs
from tests.cli.config_files import ANNOTATE, BASE, CONFIG, SWEEP


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "student.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def sampling(tmp_path):
    """Function that returns the sampling of an annotation with the given overrides."""
    path = tmp_path / "annotate.py"
    path.write_text(ANNOTATE)

    def of(*overrides):
        return flags.load([f"--config={path}", *overrides], (AnnotateConfig,)).config.sampling

    return of


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Function that runs a verb on a config file that ends in `text`, and records the configs.

    `errors` by seed are raised in place of training.
    """
    trained, errors = [], {}

    def work(config, folder):
        if errors and config.seed in errors:
            raise errors[config.seed]
        trained.append(config)
        measured = {"accuracy": 0.5, "by_subject": {"law": {"accuracy": 0.25}}}
        return {"loss": 2.5, "checkpoint": "somewhere", "benchmarks": {"mmlu": measured}}

    def run(*words, text=SWEEP, verb="train", variant=""):
        path = tmp_path / "mine.py"
        path.write_text(BASE.format(output=str(tmp_path / "runs")) + text)
        loaded = {"inputs": lambda config: {}, "extended_keys": lambda before, config: ()}
        monkeypatch.setattr(verbs, "_load", lambda name: loaded.get(name.split(":")[1], work))
        return main.main([verb, f"--config={path}:{variant}", *words])

    run.trained, run.errors = trained, errors
    return run
