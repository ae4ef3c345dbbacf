"""Sources of a conversion: how they are recognized, and conflicts with an earlier conversion."""

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
def converted(source, convert, tmp_path):
    assert convert(source, tmp_path / "converted") == (0, "")
    return tmp_path / "converted"


def test_a_hugging_face_folder_is_recognized_at_any_path(source, convert, tmp_path):
    """Also in a folder `checkpoints`, with a number as name, and with Trainer's checkpoints."""
    (tmp_path / "checkpoints").mkdir()
    (source / "checkpoints").mkdir()
    for place in ("checkpoints/bloom", "checkpoints/7"):
        source = source.rename(tmp_path / place)
        assert convert(source, tmp_path / "converted" / place) == (0, "")
        assert (tmp_path / "converted" / place / "result.json").exists()


@pytest.mark.parametrize(("folder", "step"), [("checkpoints", "0"), ("checkpoints/0", ".")])
def test_a_checkpoint_is_recognized_by_a_relative_path(
    converted, convert, monkeypatch, folder, step
):
    monkeypatch.chdir(converted / folder)
    assert convert(step, converted.parent / "back") == (0, "")
    assert files.read_json(converted.parent / "back" / "config.json")["model_type"] == "bloom"


def test_a_folder_of_checkpoints_is_not_a_model(converted, convert):
    assert (
        "checkpoints: not a model; expected a run folder with"
        in convert(converted / "checkpoints", converted.parent / "back")[1]
    )


def test_an_import_that_is_killed_before_its_result_is_finished_by_the_same_command(
    source, convert, tmp_path
):
    program = (
        "import os, signal\n"
        "from teacherlm_jax.cli import main\n"
        "from teacherlm_jax.runs.run import Run\n"
        "Run.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main.main(['convert', {str(source)!r}, {str(tmp_path / 'converted')!r}])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert Checkpoints(tmp_path / "converted").steps() == [0]
    assert not (tmp_path / "converted" / "result.json").exists()
    assert convert(source, tmp_path / "converted") == (0, "")
    assert (tmp_path / "converted" / "result.json").exists()
    assert convert(tmp_path / "converted", tmp_path / "back") == (0, "")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_a_source_that_changed_since_its_conversion_is_refused(source, converted, convert, name):
    assert convert(source, converted) == (0, "")
    path = source / name
    if name == "model.safetensors":
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        files.write_json(path, files.read_json(path) | {"more": 1})
    status, message = convert(source, converted)
    assert status == 2
    assert (
        f"hf/{name}: changed since it was converted into {converted}; remove that folder" in message
    )


def test_a_source_copied_again_is_recognized_as_already_converted(
    source, converted, convert, tmp_path
):
    path = source / "model.safetensors"
    copied = tmp_path / "copy"
    copied.write_bytes(path.read_bytes())
    os.utime(copied, ns=(1, 1))  # another modification time
    copied.replace(path)
    before = files.read_json(converted / "result.json")
    assert convert(source, converted) == (0, "")
    assert files.read_json(converted / "result.json") == before
    path.unlink()
    status, message = convert(source, converted)
    assert (status, (converted / "result.json").exists()) == (2, True), message


@pytest.mark.parametrize(("key", "id", "expected"), [("bos", 5, 1), ("eos", 1, 2)])
def test_special_ids_that_contradict_the_tokenizer_are_refused(
    source, convert, tmp_path, key, id, expected
):
    path = source / "config.json"
    files.write_json(path, files.read_json(path) | {f"{key}_token_id": id})
    status, message = convert(source, tmp_path / "converted")
    assert (status, (tmp_path / "converted").exists()) == (2, False)
    assert (
        f"config.json: {key}_token_id is {id}, but {key}_token of the tokenizer has the id "
        in message
    )
    assert f"has the id {expected}; copy" in message


def test_an_export_has_special_ids_that_the_source_does_not_declare(source, convert, tmp_path):
    vocabulary = files.read_json(source / "vocab.json")
    for name in ("vocab.json", "merges.txt"):
        (source / name).unlink()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    described = {
        "version": "1.0", "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
        "decoder": byte_level, "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    files.write_json(source / "tokenizer.json", described)
    assert convert(source, tmp_path / "converted") == (0, "")
    assert convert(tmp_path / "converted", tmp_path / "back") == (0, "")
    for name in ("config.json", "generation_config.json"):
        written = files.read_json(tmp_path / "back" / name)
        assert [written[f"{key}_token_id"] for key in ("bos", "eos", "pad")] == [1, 2, 3]
    added = files.read_json(tmp_path / "back" / "tokenizer.json")["added_tokens"]
    assert [(token["id"], token["special"]) for token in added] == [(n, True) for n in range(4)]
