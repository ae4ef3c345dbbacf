"""A run with checkpoints that a test may damage."""

import shutil

import pytest


@pytest.fixture
def run(saved, tmp_path):
    """A copy of the run folder that the module's fixture `saved` wrote once."""
    return shutil.copytree(saved, tmp_path / "run")
