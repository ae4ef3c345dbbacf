"""Downloads from a local fake hub."""

import errno
import os
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
from huggingface_hub import constants

from teacherlm_jax import sharding
from teacherlm_jax.cli import main
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, hub
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import open_vocabulary
from tests.hf import fake_hub

BLOOM, MIXED = "bigscience/bloom-tiny", "lab/mixed"


@pytest.fixture
def folder(save, pair_of):
    return save(pair_of("bloom"))


@pytest.fixture
def server(folder, torch, tmp_path, monkeypatch):
    """Fake hub with three models, and an empty cache."""
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"not downloaded")
    (folder / "README.md").write_text("not downloaded")
    torch.save({"a": torch.ones(2)}, folder / "pytorch_model.bin")
    only_bin = shutil.copytree(folder, tmp_path / "bin")
    (only_bin / "model.safetensors").unlink()
    for name in ("HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    models = {BLOOM: folder, MIXED: only_bin, "lab/gated": folder}
    with fake_hub.serving(models, gated={"lab/gated"}) as running:
        use_endpoint(monkeypatch, running.url)
        yield running
    huggingface_hub.close_session()


def use_endpoint(monkeypatch, url):
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )


def test_only_the_files_that_are_read_are_downloaded_and_only_once(server, folder):
    downloaded = hub.download(f"hf://{BLOOM}")
    assert {path.name for path in downloaded.iterdir()} == {
        "config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json",
    }  # fmt: skip
    assert sorted(server.sent) == sorted(path.name for path in downloaded.iterdir())
    assert hub.download(f"hf://{BLOOM}@main") == downloaded
    assert hub.download(f"hf://{BLOOM}@{fake_hub.COMMIT}") == downloaded
    assert len(server.sent) == 5
    weights = (downloaded / "model.safetensors").read_bytes()
    assert weights == (folder / "model.safetensors").read_bytes()


def test_bin_weights_are_downloaded_if_there_are_no_safetensors(server):
    names = {path.name for path in hub.download(f"hf://{MIXED}").iterdir()}
    assert "pytorch_model.bin" in names
    assert not any(name.endswith(".safetensors") for name in names)


def test_an_address_gives_the_same_model_as_its_folder(server, folder):
    mesh = sharding.make_mesh(MeshConfig())
    described = any_model.describe(f"hf://{BLOOM}")
    loaded = any_model.load(f"hf://{BLOOM}", mesh)
    assert described.path.name == fake_hub.COMMIT
    assert described.digest == loaded.digest == any_model.describe(described.path).digest
    (folder / "pytorch_model.bin").unlink()
    assert described.digest == any_model.describe(folder).digest


def test_a_downloaded_model_needs_no_hub(server, monkeypatch):
    downloaded = hub.download(f"hf://{BLOOM}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.download(f"hf://{BLOOM}") == downloaded
    with pytest.raises(UserError, match="mixed: HF_HUB_OFFLINE is set, and the cache does not"):
        hub.download(f"hf://{MIXED}")


@pytest.mark.parametrize("function", [hub.download, hub.local_vocabulary])
def test_a_cache_with_a_part_of_the_model_is_not_taken_for_all_of_it(server, monkeypatch, function):
    huggingface_hub.hf_hub_download(BLOOM, "config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="tiny: HF_HUB_OFFLINE is set, and the cache does not hold"):
        function(f"hf://{BLOOM}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match="tiny: http://127.0.0.1:9 cannot be reached, and the cache"
    ):
        function(f"hf://{BLOOM}")


def test_an_unreachable_hub_is_reported_with_a_remedy(server, monkeypatch):
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    message = (
        f"hf://{MIXED}: http://127.0.0.1:9 cannot be reached, and the cache does not hold .* "
        f"or run `hf download {MIXED} --revision main --local-dir FOLDER` on another machine"
    )
    with pytest.raises(UserError, match=message):
        hub.download(f"hf://{MIXED}")


def test_an_interrupted_transfer_is_reported_and_resumed_by_the_same_call(server):
    server.interrupted.add("model.safetensors")
    with pytest.raises(
        UserError, match=r"tiny: the transfer from http.* was interrupted \(.*repeat"
    ):
        hub.download(f"hf://{BLOOM}")
    server.interrupted.clear()
    assert (hub.download(f"hf://{BLOOM}") / "model.safetensors").exists()


def test_a_full_disk_is_not_reported_as_an_unreachable_hub(server, monkeypatch):
    def download(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")  # a failed write names no file

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(OSError, match="No space left"):
        hub.download(f"hf://{BLOOM}")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://lab/absent", "absent: no such model at http://127.0.0.1:.* or it is private"),
        ("hf://lab/gated", "gated: this model is gated; accept its terms at http.*/lab/gated"),
        (f"hf://{BLOOM}@v9", "@v9: the model has no revision 'v9'"),
        ("hf://bloom", "hf://bloom: not an address of a model; expected hf://org/name or"),
        ("hf://lab/a--b", "hf://lab/a--b: not an address of a model: "),
    ],
)
def test_a_model_that_cannot_be_downloaded_is_refused_with_the_reason(server, address, message):
    with pytest.raises(UserError, match=message):
        hub.download(address)


def test_a_model_without_weights_is_refused(server, folder):
    for name in ("model.safetensors", "pytorch_model.bin"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="bloom-tiny: this model has no weights in a format"):
        hub.download(f"hf://{BLOOM}")


PREPARE = """
from teacherlm_jax.config import *

def get_config(variant):
    return PrepareConfig(
        output={output!r},
        sources=(SourceConfig("mine", {rows!r}),),
        mixtures=(MixtureConfig("texts"),),
        vocabulary=VocabularyConfig("hf://bigscience/bloom-tiny", size=300),
        length=64,
    )
"""


def test_data_are_prepared_with_the_tokenizer_of_an_address(server, folder, tmp_path):
    rows = [{"id": "a", "question": "Is red a color?", "answer": "yes"}]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    config = tmp_path / "mine.py"
    config.write_text(
        PREPARE.format(output=str(tmp_path / "out"), rows=str(tmp_path / "rows.jsonl"))
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
    }
    words = [sys.executable, "-m", "teacherlm_jax", "prepare", f"--config={config}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert open_vocabulary(tmp_path / "out/texts/vocabulary").digest == (
        open_vocabulary(folder).digest
    )
    recorded = files.read_json(tmp_path / "out/config.json")["config"]["vocabulary"]
    assert recorded["path"] == f"hf://{BLOOM}"
    assert "model.safetensors" not in server.sent


def test_a_report_counts_tokens_with_the_tokenizer_of_an_address(server, folder, tmp_path):
    rows = [{"id": "a", "question": "Is red a color?", "answer": "yes"}]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    words = ["report", f"--data={tmp_path}/rows.jsonl", f"--config.output={tmp_path}/report"]
    results = []
    for vocabulary in (f"hf://{BLOOM}", folder):
        assert main.main([*words, f"--config.vocabulary={vocabulary}"]) == 0
        results.append(files.read_json(tmp_path / "report/result.json")["data"])
    assert results[0] == results[1]


def test_a_model_without_a_tokenizer_gives_no_vocabulary(server, folder):
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="bloom-tiny: this model has no tokenizer that can be"):
        hub.local_vocabulary(f"hf://{BLOOM}")
