"""Hugging Face folders in a bucket, read by every command."""

import dataclasses

import pytest
from gcsfs.core import GCSFileSystem

import teacherlm_jax
from teacherlm_jax import config, sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.data import packing, synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model, model_path, torch_bin, weights
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath
from tests.hf.folders import as_bin, assert_same, parameters, put


def test_a_model_in_a_bucket_is_the_same_as_its_copy_on_a_disk(pair_of, save, bucket):
    folder = save(pair_of("opt"), max_shard_size="50KB")
    address = put(folder, f"{bucket}/hf")
    described, expected = any_model.describe(address), any_model.describe(folder)
    assert described.digest == expected.digest
    assert (described.config, described.vocabulary.digest) == (
        expected.config, expected.vocabulary.digest,
    )  # fmt: skip
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    both = [parameters(any_model.load(path, mesh).model) for path in (address, folder)]
    assert_same(*both)
    assert teacherlm_jax.load(address).loaded.digest == expected.digest


def test_a_changed_weight_file_changes_the_digest_of_a_model_that_was_described(
    pair_of, save, bucket
):
    address = put(save(pair_of("bloom")), f"{bucket}/hf")
    before = any_model.describe(address).digest
    content = objects.read(f"{address}/model.safetensors")
    objects.put(f"{address}/model.safetensors", content)
    assert any_model.describe(address).digest == before
    objects.put(f"{address}/model.safetensors", content[:-1] + bytes([content[-1] ^ 1]))
    assert any_model.describe(address).digest != before


def test_a_conversion_notices_a_changed_source_and_no_copied_one(
    pair_of, save, convert, bucket, capsys
):
    address = put(save(pair_of("bloom")), f"{bucket}/hf")
    status, message = convert(address, f"{bucket}/run", "--config.dtype=float16")
    assert (status, "'float16' is for exports; " in message) == (2, True)
    assert convert(address, f"{bucket}/run")[0] == 0
    content = objects.read(f"{address}/model.safetensors")
    objects.put(f"{address}/model.safetensors", content)
    assert convert(address, f"{bucket}/run") == (0, "")
    objects.put(f"{address}/model.safetensors", content[:-1] + bytes([content[-1] ^ 1]))
    status, message = convert(address, f"{bucket}/run")
    assert status == 2
    assert f"{address}/model.safetensors: changed since it was converted" in message
    objects.put(f"{address}/model.safetensors", content[:-1])
    assert "model.safetensors: is truncated" in convert(address, f"{bucket}/run")[1]
    objects.remove(f"{address}/model.safetensors")
    assert f"{address}: holds no weights" in convert(address, f"{bucket}/run")[1]


@pytest.mark.parametrize("format", weights.FORMATS, ids=lambda format: format.single)
def test_a_tensor_is_one_request_and_headers_are_few_bytes(
    large_pair, save, bucket, torch, monkeypatch, format
):
    pair = large_pair("bloom")
    folder = save(pair)
    if format.single.endswith(".bin"):
        as_bin(folder, pair, torch)
    address, answers, call = put(folder, f"{bucket}/hf"), [], GCSFileSystem._call

    async def counted(self, method, path, *arguments, **keywords):
        answer = await call(self, method, path, *arguments, **keywords)
        if isinstance(answer, tuple):  # the content of an object
            answers.append(len(answer[1]))
        return answer

    monkeypatch.setattr(GCSFileSystem, "_call", counted)
    tensors = weights.open_weights(model_path.resolve(address)[0])
    assert sum(answers) < 200_000
    answers.clear()
    for tensor in tensors.values():
        tensor.read()
    assert answers == [tensor.nbytes for tensor in tensors.values()]
    assert sum(answers) > 1_500_000


def test_a_damaged_bin_file_in_a_bucket_is_named(bucket):
    path = StoragePath(bucket) / "pytorch_model.bin"
    objects.put(path, b"no zip file")
    with pytest.raises(UserError, match=f"{path}: not a complete zip file"):
        torch_bin.read_header(path)
    objects.put(path, b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=f"{path}: is a Git LFS pointer"):
        torch_bin.read_header(path)


@pytest.fixture
def settings(pair_of, save, tmp_path, write_prepared):
    """Function from a model's path to the settings of the commands that start from it."""
    pair = pair_of("bloom")
    vocabulary = any_model.describe(save(pair)).vocabulary
    tokens = [*vocabulary.begin, *vocabulary.encode("Q: red? A: no"), vocabulary.eos_id]
    text = packing.Encoded(tokens, [True] * len(tokens))
    data = write_prepared(tmp_path / "data", [text] * 16, vocabulary, 40)
    samples = [sample for sample in synthetic.generate(100, seed=1) if sample.options][:4]
    files.write_jsonl(tmp_path / "samples.jsonl", map(to_row, samples))

    def make(model, name):
        root, output = str(tmp_path), f"{tmp_path}/{name}"
        return {
            "train": config.TrainConfig(
                f"{output}/train", str(data), init_from=model, steps=1, log_every=1, batch_size=8,
                model=dataclasses.replace(pair.config),
            ),
            "evaluate": config.EvaluateConfig(
                output=f"{output}/evaluate", root=root, model=model,
                benchmarks=(config.BenchmarkConfig(name="toys", path="samples.jsonl"),),
            ),
            "annotate": config.AnnotateConfig(
                output=f"{output}/annotate", root=root,
                source=config.SourceConfig("samples", "samples.jsonl"),
                teachers=config.TeachersConfig(cot=model),
                sampling=config.SamplingConfig(max_new_tokens=3), slots=8,
            ),
        }  # fmt: skip

    return make


def test_commands_start_from_a_model_in_a_bucket_as_from_its_copy_on_a_disk(
    settings, bucket, tmp_path
):
    models = {"disk": str(tmp_path / "hf"), "bucket": put(tmp_path / "hf", f"{bucket}/hf")}
    for name, model in models.items():
        for verb, setting in settings(model, name).items():
            verbs.run(verb, setting)

    def lines(name, file, *keys):
        return [[row[key] for key in keys] for _, row in files.read_jsonl(tmp_path / name / file)]

    for file, *keys in (
        ("train/metrics.jsonl", "loss"),
        ("evaluate/toys.predictions.jsonl", "scores", "prediction"),
        ("annotate/texts/cot/part-00000.jsonl", "text", "model_digest"),
    ):
        assert lines("disk", file, *keys) == lines("bucket", file, *keys) != []
