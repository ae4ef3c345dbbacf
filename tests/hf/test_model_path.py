"""Paths that name no model are refused with the command to use."""

import re

import pytest

from teacherlm_jax.config import ConvertConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.hf.convert import convert
from teacherlm_jax.storage import files

TRAIN = (
    "prepared data, and no model; train one with `teacherlm train --config=FILE.py "
    "--config.data={folder}/%s`, and name its run folder here"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("data", f"data: {TRAIN % 'data/stage1'}"),
        ("data/stage2", f"stage2: {TRAIN % 'data/stage2'}"),
        ("unfinished", f"unfinished: {TRAIN % 'unfinished/MIXTURE'}"),
        ("report", "report: a run folder of `report`, which has no checkpoints of its own"),
        ("training", "training: has no complete checkpoint; let `train` finish first"),
    ],
)  # fmt: skip
def test_a_run_folder_without_a_model_is_refused_with_the_command_to_use(tmp_path, source, message):
    verbs = {"data": "prepare", "unfinished": "prepare", "report": "report", "training": "train"}
    for name, verb in verbs.items():
        files.write_json(tmp_path / name / "config.json", {"verb": verb, "config": {}})
    for mixture in ("stage1", "stage2"):
        files.write_json(tmp_path / "data" / mixture / "manifest.json", {})
    with pytest.raises(UserError, match=re.escape(message.format(folder=tmp_path))):
        any_model.describe(tmp_path / source)
    with pytest.raises(UserError, match=re.escape(message.format(folder=tmp_path))):
        convert(ConvertConfig(str(tmp_path / source), str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
