"""Uploads of datasets to a local fake hub."""

import errno
import re

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants

from teacherlm_jax.cli import main
from tests.hf import fake_hub
from tests.hf.explained_run import mixed_samples, write_run

from .test_hub import use_endpoint

ADDRESS, NAME = "hf://datasets/lab/whales", "lab/whales"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Fake hub without datasets, and a token in the environment that may write to `lab`."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    with fake_hub.serving({}) as running:
        use_endpoint(monkeypatch, running.url)
        monkeypatch.setenv("HF_TOKEN", running.token)
        yield running
    huggingface_hub.close_session()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def refused(convert, run, *keys, address=ADDRESS):
    status, message = convert(run, address, *keys)
    assert status == 2
    assert "hf_secret" not in message
    return message


def test_a_dataset_is_uploaded_to_a_new_private_repository_and_can_be_loaded(
    server, run, convert, tmp_path
):
    assert convert(run, ADDRESS, "--config.dataset.rows_per_file=3") == (0, "")
    uploaded = server.datasets[NAME]
    assert sorted(uploaded) == [
        *(".gitattributes", "README.md"),
        *("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
    ]
    assert server.private == {NAME}
    assert f"datasets.load_dataset('{NAME}', split='train')" in uploaded["README.md"].decode()
    for name, content in uploaded.items():
        (tmp_path / name).write_bytes(content)
    rows = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"][:] == list("abcde")


def test_a_public_repository_is_made_if_asked(server, run, convert):
    assert convert(run, ADDRESS, "--config.dataset.private=False") == (0, "")
    assert (set(server.datasets), server.private) == ({NAME}, set())


def test_the_token_is_never_printed(server, run, capfd):
    assert main.main(["convert", str(run), ADDRESS]) == 0
    out, err = capfd.readouterr()
    assert "5 rows; load them with" in out
    assert server.token not in out + err


def test_without_a_token_nothing_is_read_or_sent_until_there_is_one(
    server, run, convert, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN")
    message = refused(convert, run)
    variable = re.search(r"no token for uploads; set (\w+) to a token", message)[1]
    assert server.posted == []
    monkeypatch.setenv(variable, server.token)
    assert convert(run, ADDRESS) == (0, "")


@pytest.mark.parametrize("token", ["hf_other", "hf_secret"])
def test_a_token_without_rights_is_refused(server, run, convert, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    message = refused(convert, run, address="hf://datasets/other/whales")
    status = 401 if token == "hf_other" else 403
    assert f"does not permit writing here (status {status}); use a token with write" in message
    assert "check that you may write to other" in message
    assert server.datasets == {}


def test_a_repository_with_files_is_only_replaced_if_asked_and_loses_old_data_files(
    server, run, convert, tmp_path
):
    assert convert(run, ADDRESS, "--config.dataset.rows_per_file=1") == (0, "")
    server.datasets[NAME]["notes.txt"] = b"mine"
    before = dict(server.datasets[NAME])
    message = refused(convert, run)
    assert "the repository has 7 files; name another one, or replace" in message
    assert server.datasets[NAME] == before
    key = re.search(r"with (--\S+) ", message)[1]
    assert convert(write_run(tmp_path / "new", mixed_samples()[:2]), ADDRESS, key) == (0, "")
    assert sorted(server.datasets[NAME]) == [
        *(".gitattributes", "README.md", "notes.txt", "train-00000-of-00001.parquet"),
    ]
    assert convert(run, "hf://datasets/lab/another") == (0, "")


def test_a_failed_upload_is_repeated_by_the_same_command(server, run, convert):
    path = f"/api/datasets/{NAME}/commit/main"
    server.failing[path] = 400
    message = refused(convert, run)
    assert "answered with an error, repeat the command later: " in message
    server.failing.clear()
    assert convert(run, ADDRESS) == (0, "")
    assert "README.md" in server.datasets[NAME]


def test_an_unreachable_hub_is_reported_with_a_way_around(
    server, run, convert, monkeypatch, tmp_path
):
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    message = refused(convert, run)
    assert "the transfer to http://127.0.0.1:9 failed (" in message
    assert f"or convert to a folder and run `hf upload {NAME} FOLDER --repo-type dataset`" in (
        message
    )
    assert convert(run, tmp_path / "folder") == (0, "")


def test_a_failure_of_the_store_of_large_files_is_reported_with_a_way_around(server, run, convert):
    server.upload_mode = "lfs"
    message = refused(convert, run)
    assert re.search(
        r"the transfer to http://127.* failed \(Network error: .*; check network", message
    )
    server.upload_mode = "regular"
    assert convert(run, ADDRESS) == (0, "")


def test_a_full_disk_is_not_reported_as_a_failed_transfer(server, run, convert, monkeypatch):
    def upload(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    message = refused(convert, run)
    assert "No space left" in message
    assert "transfer" not in message


def test_an_upload_is_refused_offline(server, run, convert, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set; unset it to upload" in refused(convert, run)


@pytest.mark.parametrize(
    "address", ["hf://lab/whales", "hf://datasets/whales", "hf://datasets/a/b/c"]
)
def test_other_addresses_are_refused_with_the_expected_form(server, run, convert, address):
    message = refused(convert, run, address=address)
    assert f"{address}: not an address of a dataset; expected hf://datasets/org/name" in message


def test_a_model_is_not_uploaded(server, convert, tmp_path):
    (tmp_path / "model").mkdir()
    message = refused(convert, tmp_path / "model")
    assert "only the dataset of an `annotate` run is uploaded; convert the model to a" in message


def test_an_unfinished_run_creates_no_repository(server, run, convert):
    (run / "result.json").unlink()
    assert "has not finished" in refused(convert, run)
    assert server.datasets == {}
