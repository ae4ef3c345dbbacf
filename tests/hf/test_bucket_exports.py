"""Exports to a bucket, and conversions between a bucket and a disk in both directions."""

import functools
import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import pytest
from gcsfs.core import GCSFileSystem
from transformers import AutoModelForCausalLM, AutoTokenizer

from teacherlm_jax.cli import main
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.hf.safetensors import SafetensorsWriter
from teacherlm_jax.storage import folder_lock, objects
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from tests.hf.folders import as_bin, assert_same, fetched, loaded, parameters, put

SHARD = 1_000_000  # bytes, the smallest limit of a shard


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Folder for all temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def largest(temporary, monkeypatch):
    """Return the sizes of the largest temporary file after each request to the bucket."""
    sizes, call = [0], GCSFileSystem._call

    async def observed(self, *arguments, **keywords):
        sizes.extend(p.stat().st_size for p in temporary.rglob("*") if p.is_file())
        return await call(self, *arguments, **keywords)

    monkeypatch.setattr(GCSFileSystem, "_call", observed)
    return sizes


@pytest.mark.parametrize(
    ("family", "source", "run", "output"),
    [
        ("bloom", "bucket", "bucket", "bucket"),
        ("opt", "bucket", "bucket", "bucket"),
        ("bloom", "disk", "bucket", "disk"),
        ("opt", "bucket", "disk", "bucket"),
    ],
)
def test_models_are_converted_within_a_bucket_and_between_it_and_a_disk(
    large_pair, save, convert, tmp_path, bucket, torch, largest, family, source, run, output
):
    pair, places = large_pair(family), {"disk": str(tmp_path), "bucket": bucket}
    folder = save(pair, max_shard_size="300KB")
    if family == "opt":
        as_bin(folder, pair, torch)
    source = put(folder, f"{bucket}/source") if source == "bucket" else folder
    run, output = f"{places[run]}/run", f"{places[output]}/output"
    mesh = ("--config.mesh.fsdp=4", "--config.mesh.tensor=2")

    assert convert(source, run, *mesh) == (0, "")
    assert_same(parameters(loaded(run).model), parameters(pair.model))
    assert convert(run, output, "--config.shard_megabytes=1", *mesh) == (0, "")

    assert max(largest) < SHARD / 4, "weights were copied to this machine"
    if output.startswith(bucket):
        output = fetched(output, tmp_path / "fetched")
    names = {path.name for path in Path(output).iterdir()}
    shards = [path.stat().st_size for path in Path(output).glob("*.safetensors")]
    assert len(shards) > 1 and SHARD / 2 < max(shards) < 1.01 * SHARD
    assert names == {
        "config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json", "vocabulary.json", "model.safetensors.index.json",
        *(path.name for path in Path(output).glob("model-*-of-*.safetensors")),
    }  # fmt: skip
    back = AutoModelForCausalLM.from_pretrained(output).state_dict()
    expected = pair.reference.state_dict()
    assert back.keys() == expected.keys()
    assert all(tensor.equal(expected[name]) for name, tensor in back.items())
    assert AutoTokenizer.from_pretrained(output).eos_token == "</s>"


def export_and_die(source, output):
    """Run `convert`, which kills its process when the weights are in the bucket."""
    Vocabulary.save_pretrained = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    main.main(["convert", source, output, "--config.shard_megabytes=1"])


def test_an_export_that_was_killed_is_refused_until_the_same_command_finishes_it(
    large_pair, save, convert, tmp_path, bucket
):
    pair, output = large_pair("bloom"), f"{bucket}/output"
    assert convert(save(pair), tmp_path / "run") == (0, "")
    process = multiprocessing.get_context("spawn").Process(
        target=export_and_die, args=(f"{tmp_path}/run", output)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = objects.listing(output)
    assert "model.safetensors.index.json" in before and "config.json" not in before
    with pytest.raises(UserError, match=f"{output}: is not complete"):
        any_model.describe(output)
    assert "is not complete" in convert(output, tmp_path / "again")[1]

    assert convert(tmp_path / "run", output) == (0, "")
    assert not any(name.startswith(("model-", ".")) for name in objects.listing(output))
    back = AutoModelForCausalLM.from_pretrained(fetched(output, tmp_path / "fetched")).state_dict()
    assert all(tensor.equal(back[name]) for name, tensor in pair.reference.state_dict().items())
    assert "already exists; remove it" in convert(tmp_path / "run", output)[1]


@pytest.mark.parametrize("tensors", [3, 20])
def test_an_export_that_fails_leaves_nothing(
    large_pair, save, convert, tmp_path, bucket, monkeypatch, tensors
):
    assert convert(save(large_pair("opt")), tmp_path / "run") == (0, "")
    left = [None] * tensors

    def write(self, block, write=SafetensorsWriter.write):
        left.pop()
        if not left:
            raise KeyboardInterrupt
        write(self, block)

    monkeypatch.setattr(SafetensorsWriter, "write", write)
    output = f"{bucket}/output"
    assert convert(tmp_path / "run", output, "--config.shard_megabytes=1")[0] == 130
    assert not left and not objects.listing(output)


def test_an_export_that_was_overtaken_publishes_no_more_weights(
    large_pair, save, convert, tmp_path, bucket, monkeypatch
):
    assert convert(save(large_pair("opt")), tmp_path / "run") == (0, "")
    output, acquire = f"{bucket}/output", folder_lock.acquire
    monkeypatch.setattr(folder_lock, "acquire", functools.partial(acquire, stale=0))

    def overtake(self, *arguments, enter=SafetensorsWriter.__enter__):
        objects.put(f"{output}/.lock/2", objects.read(f"{output}/.lock/1"))
        return enter(self, *arguments)

    monkeypatch.setattr(SafetensorsWriter, "__enter__", overtake)
    status, message = convert(tmp_path / "run", output)
    assert status == 2
    assert f"{output}: another process has taken over this folder" in message
    assert set(objects.listing(output)) == {".partial", ".lock/1", ".lock/2"}


def test_an_export_that_the_store_refuses_in_the_middle_leaves_nothing(
    large_pair, save, convert, tmp_path, bucket, proxy
):
    assert convert(save(large_pair("opt")), tmp_path / "run") == (0, "")
    output = f"{bucket}/output"
    fault = proxy.fail(403, "write", path="model-00002-of", after=1)
    status, message = convert(tmp_path / "run", output, "--config.shard_megabytes=1")
    assert (status, fault.failed) == (2, 1)
    assert f"{output}/model-00002-of-00002.safetensors: cannot be written: permission" in message
    assert not objects.listing(output)


@pytest.mark.parametrize(("answer", "status"), [(503, 2), ("short", 0)])
def test_a_tensor_that_the_store_does_not_give_is_no_damaged_file(
    large_pair, save, convert, tmp_path, bucket, proxy, answer, status
):
    source = put(save(large_pair("bloom")), f"{bucket}/source")
    proxy.fail(answer, "read", path="model.safetensors", after=3, times=1 if status == 0 else 1e9)
    actual, message = convert(source, tmp_path / "run")
    assert actual == status
    if status:
        assert f"{source}/model.safetensors: cannot be read: the store did not answer" in message
        assert not (tmp_path / "run").exists()


def test_the_config_of_an_export_is_written_last(pair_of, save, convert, tmp_path, bucket):
    assert convert(save(pair_of("opt")), tmp_path / "run") == (0, "")
    assert convert(tmp_path / "run", f"{bucket}/output") == (0, "")
    generations = {
        name: int(objects.info(f"{bucket}/output/{name}")["generation"])
        for name in objects.listing(f"{bucket}/output")
    }
    assert max(generations, key=generations.get) == "config.json"


def test_an_export_to_another_store_is_refused(convert, tmp_path):
    status, message = convert(tmp_path, "s3://bucket/output")
    assert status == 2
    assert "config.output" in message and "paths on this machine or gs://" in message
