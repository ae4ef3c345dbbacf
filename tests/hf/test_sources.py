"""What a source is taken for, and whether it fits itself and what was made of it."""

import os
import signal
import subprocess
import sys

import pytest

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.storage import files


@pytest.fixture
def source(save, pair_of):
    return save(pair_of("bloom"))


@pytest.fixture
def ours(source, convert, tmp_path):
    assert convert(source, tmp_path / "ours") == (0, "")
    return tmp_path / "ours"


def test_a_model_of_theirs_is_one_wherever_it_lies(source, convert, tmp_path):
    """In a folder of checkpoints, under a number, and with checkpoints of its own training."""
    (tmp_path / "checkpoints").mkdir()
    (source / "checkpoints").mkdir()
    for place in ("checkpoints/bloom", "checkpoints/7"):
        source = source.rename(tmp_path / place)
        assert convert(source, tmp_path / "ours" / place) == (0, "")
        assert (tmp_path / "ours" / place / "result.json").exists()


@pytest.mark.parametrize(("folder", "step"), [("checkpoints", "0"), ("checkpoints/0", ".")])
def test_a_checkpoint_is_one_by_a_path_of_any_kind(ours, convert, monkeypatch, folder, step):
    monkeypatch.chdir(ours / folder)
    assert convert(step, ours.parent / "back") == (0, "")
    assert files.read_json(ours.parent / "back" / "config.json")["model_type"] == "bloom"


def test_a_folder_of_checkpoints_is_neither(ours, convert):
    assert (
        "checkpoints: not a model; expected a run folder with"
        in convert(ours / "checkpoints", ours.parent / "back")[1]
    )


def test_an_import_that_is_killed_before_its_result_is_finished_by_the_same_command(
    source, convert, tmp_path
):
    program = (
        "import os, signal\n"
        "from teacherlm_jax.cli import main\n"
        "from teacherlm_jax.runs import run_folder\n"
        "run_folder.Run.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main.main(['convert', {str(source)!r}, {str(tmp_path / 'ours')!r}])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert Checkpoints(tmp_path / "ours").steps() == [0]
    assert not (tmp_path / "ours" / "result.json").exists()
    assert convert(source, tmp_path / "ours") == (0, "")
    assert (tmp_path / "ours" / "result.json").exists()
    assert convert(tmp_path / "ours", tmp_path / "back") == (0, "")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_another_source_is_not_taken_for_the_one_that_was_converted(source, ours, convert, name):
    assert convert(source, ours) == (0, "")
    path = source / name
    if name == "model.safetensors":
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        files.write_json(path, files.read_json(path) | {"more": 1})
    status, message = convert(source, ours)
    assert status == 2
    assert (
        f"theirs/{name}: changed since it was converted into {ours}; remove that folder" in message
    )


def test_the_same_bytes_copied_again_are_recognized_as_converted_before(
    source, ours, convert, tmp_path
):
    path = source / "model.safetensors"
    copied = tmp_path / "copy"
    copied.write_bytes(path.read_bytes())
    os.utime(copied, ns=(1, 1))  # another time of change
    copied.replace(path)
    before = files.read_json(ours / "result.json")
    assert convert(source, ours) == (0, "")
    assert files.read_json(ours / "result.json") == before
    path.unlink()
    status, message = convert(source, ours)
    assert (status, (ours / "result.json").exists()) == (2, True), message


@pytest.mark.parametrize(("key", "id", "wanted"), [("bos", 5, 1), ("eos", 1, 2)])
def test_special_ids_that_contradict_the_tokenizer_are_refused(
    source, convert, tmp_path, key, id, wanted
):
    path = source / "config.json"
    files.write_json(path, files.read_json(path) | {f"{key}_token_id": id})
    status, message = convert(source, tmp_path / "ours")
    assert (status, (tmp_path / "ours").exists()) == (2, False)
    assert (
        f"config.json: {key}_token_id is {id}, but {key}_token of the tokenizer has the id "
        in message
    )
    assert f"has the id {wanted}; copy" in message


def test_an_export_has_the_ids_of_tokens_that_the_source_does_not_declare(
    source, convert, tmp_path
):
    vocabulary = files.read_json(source / "vocab.json")
    for name in ("vocab.json", "merges.txt"):
        (source / name).unlink()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    described = {
        "version": "1.0", "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
        "decoder": byte_level, "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    files.write_json(source / "tokenizer.json", described)
    assert convert(source, tmp_path / "ours") == (0, "")
    assert convert(tmp_path / "ours", tmp_path / "back") == (0, "")
    for name in ("config.json", "generation_config.json"):
        written = files.read_json(tmp_path / "back" / name)
        assert [written[f"{key}_token_id"] for key in ("bos", "eos", "pad")] == [1, 2, 3]
    added = files.read_json(tmp_path / "back" / "tokenizer.json")["added_tokens"]
    assert [(token["id"], token["special"]) for token in added] == [(n, True) for n in range(4)]
