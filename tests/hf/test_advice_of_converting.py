"""Advice in messages of `convert` and of the hub, followed with weights of zeros."""

import re
import shlex
import shutil

import huggingface_hub
import jax
import pytest
from flax import nnx
from huggingface_hub import constants
from huggingface_hub.cli.hf import app

from teacherlm_jax import sharding
from teacherlm_jax.cli import main, overrides
from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, hub
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import open_vocabulary
from teacherlm_jax.training import warm_start
from tests.hf import fake_hub
from tests.hf.blank_folder import MODEL, WEIGHTS, write_blank

from .test_hub import use_endpoint


@pytest.fixture(scope="module")
def blank(tmp_path_factory, write_tokenizer):
    """A Hugging Face folder `model`, and the run folder `run` that it was converted into."""
    root = tmp_path_factory.mktemp("blank")
    folder = write_blank(root / "model", write_tokenizer)
    assert main.main(["convert", str(folder), str(root / "run")]) == 0
    return root


@pytest.fixture
def folder(blank, tmp_path):
    return shutil.copytree(blank / "model", tmp_path / "model")


@pytest.fixture
def run(blank):
    return blank / "run"


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


def test_a_run_has_the_first_dtype_that_a_message_names(folder, convert, tmp_path):
    """Test_convert.py converts into bfloat16, the other one."""
    status, message = convert(folder, tmp_path / "run", "--config.dtype=float16")
    assert status == 2
    first, other = re.search(
        r"parameters of a run are (\w+), which .* or (\w+); choose one of them", message
    ).groups()
    assert other == "bfloat16"
    assert convert(folder, tmp_path / "run", f"--config.dtype={first}") == (0, "")


@pytest.mark.parametrize("source", ["model", "hf://org/name"])
def test_validating_an_import_refuses_float16_as_running_it_does(blank, convert, tmp_path, source):
    source = blank / source if source == "model" else source
    words = (source, tmp_path / "out", "--config.dtype=float16")
    refused = convert(*words)
    assert refused[0] == 2 and "'float16' is for exports; " in refused[1]
    assert convert(*words, "--validate") == refused
    assert convert(*words[:2], "--config.dtype=bfloat16", "--validate") == (0, "")
    assert convert(blank / "run", *words[1:], "--validate") == (0, "")


@pytest.mark.parametrize("source", ["model", "run"])
def test_an_output_that_exists_is_removed_or_another_one_is_named(blank, convert, tmp_path, source):
    output = tmp_path / "out"
    files.write_json(output / "other.json", {})
    status, message = convert(blank / source, output)
    expected = f"{output}: already exists; remove it, or name another folder"
    assert (status, expected in message) == (2, True)
    if source == "model":
        shutil.rmtree(output)
    else:
        output = tmp_path / "another"
    assert convert(blank / source, output) == (0, "")


def test_a_source_that_changed_is_converted_after_each_remedy(folder, blank, convert, tmp_path):
    run = shutil.copytree(blank / "run", tmp_path / "run")
    content = files.read_json(folder / "config.json")
    files.write_json(folder / "config.json", content | {"use_cache": False})
    status, message = convert(folder, run)
    assert status == 2
    named = re.search(
        r"since it was converted into (\S+); remove that folder to convert again, or name another "
        r"config\.output",
        message,
    )[1]
    assert convert(folder, tmp_path / "another") == (0, "")
    shutil.rmtree(named)
    assert convert(folder, run) == (0, "")


def test_an_export_runs_on_one_machine(run, convert, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(jax, "process_count", lambda: 2)
        status, message = convert(run, tmp_path / "out")
    assert (status, "run this on one machine" in message) == (2, True)
    assert convert(run, tmp_path / "out") == (0, "")
    assert any_model.describe(tmp_path / "out").config.layers == MODEL.layers


def test_a_run_starts_from_a_folder_with_the_key_and_the_vocabulary_that_messages_name(
    folder, tmp_path, write_tokenizer
):
    def start(config, vocabulary):
        mesh = sharding.make_mesh(MeshConfig(data=8))
        model = config.model
        abstract = sharding.abstract_model(lambda: registry.build(model, nnx.Rngs(0)), mesh)[1]
        return warm_start.warm_start(str(folder), model, vocabulary, abstract)

    own = open_vocabulary(folder)
    config = TrainConfig(
        model=overrides.apply_text(TrainConfig(model=MODEL), "model.layers", "1").model
    )
    key, text = re.search(r"; set config\.(\S+)=(\S+)$", refusal(start, config, own)).groups()
    config = overrides.apply_text(config, key, text)
    assert start(config, own)
    write_tokenizer(tmp_path / "other", "opt")
    message = refusal(start, config, open_vocabulary(tmp_path / "other"))
    path = re.search(r"prepare the data with config\.vocabulary\.path=(\S+)$", message)[1]
    assert start(config, open_vocabulary(path))


NAME = "lab/model"


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
    """Fake hub with one model, and an empty cache."""
    for name in ("HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub.serving({NAME: folder}) as running:
        use_endpoint(monkeypatch, running.url)
        yield running
    huggingface_hub.close_session()


@pytest.mark.parametrize(
    ("address", "words", "right"),
    [
        (
            "hf://lab/modle",
            "no such model at .*; check the name, or log in with `hf auth login`",
            "",
        ),
        ("hf://model", "expected hf://org/name or hf://org/name@revision", ""),
        (f"hf://{NAME}@v9", "has no revision 'v9'; http://.*/commits/main lists them", "@main"),
    ],
)
def test_a_model_is_downloaded_from_an_address_as_its_message_says(server, address, words, right):
    message = refusal(hub.download, address)
    assert re.search(words, message), message
    assert (hub.download(f"hf://{NAME}{right}") / WEIGHTS).exists()


def test_a_gated_model_is_downloaded_after_its_terms_are_accepted(server):
    server.gated = {NAME}
    assert f"accept its terms at {server.url}/{NAME}" in refusal(hub.download, f"hf://{NAME}")
    server.gated = set()
    assert (hub.download(f"hf://{NAME}") / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("names", "load", "words"),
    [
        ((WEIGHTS,), hub.download, "expected model.safetensors or pytorch_model.bin"),
        (
            ("vocab.json", "merges.txt"),
            hub.local_vocabulary,
            "expected tokenizer.json, or vocab.json and merges.txt",
        ),
    ],
)
def test_a_model_that_has_the_expected_files_is_downloaded(
    server, folder, tmp_path, names, load, words
):
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    for name in names:
        (lacking / name).unlink()
    server.models = {NAME: folder, "lab/lacking": lacking}
    assert words in refusal(load, "hf://lab/lacking")
    assert load(f"hf://{NAME}")


@pytest.mark.parametrize("cause", ["offline", "unreachable"])
@pytest.mark.parametrize("way", ["undo", "copy"])
def test_a_hub_out_of_reach_is_reached_or_the_model_is_copied(
    server, tmp_path, monkeypatch, cause, way
):
    with monkeypatch.context() as patch:
        if cause == "offline":
            patch.setattr(constants, "HF_HUB_OFFLINE", True)
        else:
            use_endpoint(patch, "http://127.0.0.1:9")
        message = refusal(hub.download, f"hf://{NAME}")
    remedy = "unset it" if cause == "offline" else "connect to the network"
    command = re.search(rf"; {remedy}, or run `hf (.*)` on another machine", message)[1]
    if way == "undo":
        assert (hub.download(f"hf://{NAME}") / WEIGHTS).exists()
        return
    words = shlex.split(command.replace("FOLDER", str(tmp_path / "copy")))
    app.main(words, prog_name="hf", standalone_mode=False)
    assert any_model.describe(tmp_path / "copy").config.layers == MODEL.layers
